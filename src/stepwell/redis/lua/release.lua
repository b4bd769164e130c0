#!lua flags=allow-oom
-- release: give a run back before it ended; it is due at `when`, at once if it has messages, and
--          not at all if `when` is empty and it has none.
-- promise: by the holder only; sent twice, it happens once. The claim is not counted any more, unless
--          it is `counted`: something in the run ended it.
-- keys: run log inbox owned due
-- args: id token owner queue workflow when parked counted news due_news
-- replies: OK | DUP | LEASE_LOST epoch | CHANGED owner queue workflow | GONE | CORRUPT field text
--          | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: standing
-- include: holder
-- include: moved
-- include: give_up
-- include: history
-- include: make_due

local wrong = wrongtype({
  [run] = 'hash', [log] = 'list', [inbox] = 'list', [owned] = 'set', [due] = 'zset',
})
if wrong then
  return wrong
end
local held, fault = standing(run)
local refusal = fault or holder(held, token) or moved(run, owner, queue, workflow)
if refusal then
  return refusal
end

local now = clock()
local peaceful = parked == '1'
if peaceful then
  redis.call('HSET', run, 'parked', '1')
else
  redis.call('HDEL', run, 'parked')
end
note(log, held.seq, now, peaceful and 'parked' or 'released', epoch_of(token), held.status)
if redis.call('EXISTS', inbox) == 1 then
  make_due(due, due_news, id, now, queue, workflow)
elseif when ~= '' then
  local later = tonumber(when) > tonumber(now)
  make_due(due, due_news, id, later and when or now, queue, workflow)
end
redis.call('SPUBLISH', news, 'released')
if counted == '1' then
  give_up(run, owned, id, held)
else
  give_back(run, owned, id, held)
end
return {'OK'}
