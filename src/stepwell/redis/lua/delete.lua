#!lua flags=allow-oom
-- delete: forget a run.
-- promise: all of it, unless a living process executes it.
-- keys: run log inbox keys stage owned owners due blocked runs ended same?
-- args: id owner queue workflow news
-- replies: OK | EXECUTED | CHANGED owner queue workflow | GONE | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: lease
-- include: moved

local kinds = {
  [run] = 'hash', [log] = 'list', [inbox] = 'list', [keys] = 'zset', [stage] = 'hash',
  [owned] = 'set', [owners] = 'zset', [due] = 'zset', [blocked] = 'hash', [runs] = 'zset',
  [ended] = 'zset',
}
if same then
  kinds[same] = 'zset'
end
local wrong = wrongtype(kinds)
if wrong then
  return wrong
end
if redis.call('EXISTS', run) == 0 then
  return {'GONE'}
end
local elsewhere = moved(run, owner, queue, workflow)
if elsewhere then
  return elsewhere
end
if owner ~= '' and lasts(owners, owner, clock()) then
  return {'EXECUTED'}
end

redis.call('SREM', owned, id)
redis.call('ZREM', due, id)
redis.call('HDEL', blocked, id)
redis.call('ZREM', runs, id)
redis.call('ZREM', ended, id)
if same then
  redis.call('ZREM', same, id)
  redis.call('EXPIRE', same, 30 * 86400)
end
redis.call('UNLINK', log, inbox, keys, stage, run)
redis.call('SPUBLISH', news, 'deleted')
return {'OK'}
