#!lua
-- claim: take a run over from an owner that is gone, or that nobody has.
-- promise: of several claimers one wins; all tokens given before are refused from then on; sent
--          twice by the same one, it happens once.
-- keys: run log due owners seen absent mine theirs same?
-- args: id owner was nonce channel
-- replies: OK token seq fields (as they were before) | CHANGED | OWNED | TERMINAL | GONE
--          | CORRUPT field text | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: standing
-- include: history
-- include: lease

local kinds = {
  [run] = 'hash', [log] = 'list', [owners] = 'zset', [mine] = 'set', [theirs] = 'set',
  [due] = 'zset', [seen] = 'hash', [absent] = 'hash',
}
if same then
  kinds[same] = 'zset'
end
local wrong = wrongtype(kinds)
if wrong then
  return wrong
end
local held, fault = standing(run)
if fault then
  return fault
end
local holder = redis.call('HGET', run, 'owner') or ''
local fields = redis.call('HGETALL', run)

if holder == owner and held.token == epoch_of(held.token) .. ':' .. nonce then
  local line = redis.call('LINDEX', log, -1)
  local before = line and cjson.decode(line)[6] or held.status
  for i = 1, #fields, 2 do
    if fields[i] == 'status' then
      fields[i + 1] = before
    end
  end
  return {'OK', held.token, held.seq, fields}
end
if held.status == 'completed' then
  return {'TERMINAL'}
end
if holder ~= was then
  return {'CHANGED'}
end
local now = clock()
if was ~= '' and was ~= owner and lasts(owners, was, tonumber(now)) then
  return {'OWNED'}
end

local epoch = string.format('%.0f', epoch_of(held.token) + 1)
local token = epoch .. ':' .. nonce
redis.call('HSET', run, 'token', token, 'owner', owner, 'status', 'running')
redis.call('HDEL', run, 'ended_at')
redis.call('SREM', theirs, id)
redis.call('SADD', mine, id)
redis.call('ZREM', due, id)
if was ~= '' and redis.call('SCARD', theirs) == 0 then
  redis.call('ZREM', owners, was)
  redis.call('HDEL', seen, was)
  redis.call('HDEL', absent, was)
end
note(log, held.seq, now, 'claimed', epoch, held.status)
redis.call('PERSIST', run)
redis.call('PERSIST', log)
if same then
  redis.call('PERSIST', same)
end
redis.call('SPUBLISH', channel, 'claimed')
return {'OK', token, held.seq, fields}
