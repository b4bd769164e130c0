#!lua
-- open: found a namespace, or tell how it was founded.
-- promise: format and number of partitions are written once and never change.
-- keys: meta
-- args: format partitions channel
-- replies: OK | DIFFERS format partitions | DENIED command | WRONGTYPE key expected found
-- include: wrongtype

-- A script that may not go on in its middle leaves what it wrote: so look first at what all of them
-- call. These stand for all keys and channels, which share one prefix.
local needed = {
  {'TYPE', meta}, {'EXISTS', meta}, {'DEL', meta}, {'UNLINK', meta}, {'RENAME', meta, meta},
  {'EXPIRE', meta, '1'}, {'PERSIST', meta},
  {'HGET', meta, 'f'}, {'HMGET', meta, 'f'}, {'HGETALL', meta}, {'HEXISTS', meta, 'f'},
  {'HSCAN', meta, '0'}, {'HLEN', meta}, {'HRANDFIELD', meta, '1'},
  {'HSET', meta, 'f', 't'}, {'HDEL', meta, 'f'},
  {'RPUSH', meta, 'm'}, {'LTRIM', meta, '0', '1'}, {'LINDEX', meta, '0'}, {'LLEN', meta},
  {'LRANGE', meta, '0', '1'},
  {'SADD', meta, 'm'}, {'SREM', meta, 'm'}, {'SCARD', meta}, {'SISMEMBER', meta, 'm'},
  {'SMEMBERS', meta}, {'SRANDMEMBER', meta, '1'},
  {'ZADD', meta, '1', 'm'}, {'ZCOUNT', meta, '0', '1'}, {'ZREM', meta, 'm'}, {'ZREMRANGEBYRANK', meta, '0', '1'},
  {'ZSCORE', meta, 'm'}, {'ZRANGE', meta, '0', '1'}, {'ZRANGEBYSCORE', meta, '0', '1'},
  {'ZREVRANGEBYSCORE', meta, '1', '0'}, {'ZRANDMEMBER', meta, '1'},
  {'SPUBLISH', channel, 'm'}, {'SSUBSCRIBE', channel},
  {'PUBSUB', 'SHARDNUMSUB', channel}, {'TIME'},
}
for _, command in ipairs(needed) do
  if not redis.acl_check_cmd(unpack(command)) then
    return {'DENIED', command[1]}
  end
end

local wrong = wrongtype({[meta] = 'hash'})
if wrong then
  return wrong
end
local held = redis.call('HMGET', meta, 'format', 'partitions')
if held[1] == format and held[2] == partitions then
  return {'OK'}
end
if redis.call('EXISTS', meta) == 1 then
  return {'DIFFERS', held[1] or '', held[2] or ''}
end
redis.call('HSET', meta, 'format', format, 'partitions', partitions)
return {'OK'}
