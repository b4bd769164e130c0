#!lua flags=allow-oom
-- orphan: take a run from an owner that is gone; it is due at once.
-- promise: only if the run still belongs to that owner, whose lease does not last: an owner that
--          came back in between keeps it. All tokens given before are refused from then on. What is
--          no run of that owner is no longer listed as one.
-- keys: run log owned owners mail due
-- args: id owner queue workflow news due_news
-- replies: OK | OWNED | CHANGED owner queue workflow | GONE | CORRUPT field text
--          | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: standing
-- include: lease
-- include: moved
-- include: give_up
-- include: history
-- include: make_due

local wrong = wrongtype({
  [run] = 'hash', [log] = 'list', [owned] = 'set', [owners] = 'zset', [mail] = 'set',
  [due] = 'zset',
})
if wrong then
  return wrong
end
local held, fault = standing(run)
if fault then
  if fault[1] == 'GONE' then
    redis.call('SREM', owned, id)
  end
  return fault
end
local elsewhere = moved(run, owner, queue, workflow)
if elsewhere then
  if elsewhere[2] ~= owner then
    redis.call('SREM', owned, id)
  end
  return elsewhere
end
local now = clock()
if lasts(owners, owner, now) then
  return {'OWNED'}
end

give_up(run, owned, id, held)
redis.call('SREM', mail, id)
note(log, held.seq, now, 'orphaned', epoch_of(held.token), held.status)
make_due(due, due_news, id, now, queue, workflow)
redis.call('SPUBLISH', news, 'orphaned')
return {'OK'}
