#!lua flags=allow-oom
-- release: give a run back before it ended; it is due at once.
-- promise: by the holder only; sent twice, it happens once.
-- keys: run log owned due
-- args: id token channel
-- replies: OK | DUP | LEASE_LOST epoch | GONE | CORRUPT field text
--          | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: standing
-- include: history

local wrong = wrongtype({[run] = 'hash', [log] = 'list', [owned] = 'set', [due] = 'zset'})
if wrong then
  return wrong
end
local held, fault = standing(run)
if fault then
  return fault
end
if held.token == unheld(held.token) and epoch_of(token) == epoch_of(held.token) then
  return {'DUP'}
end
if held.token ~= token then
  return {'LEASE_LOST', epoch_of(held.token)}
end

local now = clock()
redis.call('HDEL', run, 'owner')
redis.call('SREM', owned, id)
redis.call('ZADD', due, now, id)
note(log, held.seq, now, 'released', epoch_of(token), held.status)
redis.call('SPUBLISH', channel, 'released')
redis.call('HSET', run, 'token', unheld(token))
return {'OK'}
