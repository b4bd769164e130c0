#!lua flags=allow-oom
-- disappear: end the lease of an owner; forget it, unless runs are still in its name.
-- promise: an owner with runs stays listed, with a lease that is over, until they are claimed.
-- keys: owners seen absent owned
-- args: owner
-- replies: OK | OWNING runs | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock

local wrong = wrongtype({
  [owners] = 'zset', [seen] = 'hash', [absent] = 'hash', [owned] = 'set',
})
if wrong then
  return wrong
end
local runs = redis.call('SCARD', owned)
redis.call('HDEL', seen, owner)
redis.call('HDEL', absent, owner)
if runs > 0 then
  redis.call('ZADD', owners, 'XX', clock(), owner)
  return {'OWNING', runs}
end
redis.call('ZREM', owners, owner)
return {'OK'}
