#!lua flags=allow-oom
-- block: give a run back that this code can't go on with.
-- promise: by the holder only; sent twice, it happens once. The claim is not counted any more, and
--          the run is not due until other code asks for it, or an urgent message comes.
-- keys: run log owned blocked
-- args: id token owner queue workflow fingerprint error news
-- replies: as release
-- include: wrongtype
-- include: clock
-- include: standing
-- include: holder
-- include: moved
-- include: give_up
-- include: history

local wrong = wrongtype({[run] = 'hash', [log] = 'list', [owned] = 'set', [blocked] = 'hash'})
if wrong then
  return wrong
end
local held, fault = standing(run)
local refusal = fault or holder(held, token) or moved(run, owner, queue, workflow)
if refusal then
  return refusal
end

redis.call('HSET', run, 'status', 'blocked', 'error', error)
redis.call('HDEL', run, 'parked')
redis.call('HSET', blocked, id, fingerprint)
note(log, held.seq, clock(), 'blocked', epoch_of(token), fingerprint)
redis.call('SPUBLISH', news, 'blocked')
give_back(run, owned, id, held)
return {'OK'}
