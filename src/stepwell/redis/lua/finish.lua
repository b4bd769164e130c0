#!lua
-- finish: the commit that ends a run; its status is in the patch.
-- promise: as commit; and from then on nobody holds the run, and all of it has a time to live:
--          7 days if it completed, else 30.
-- keys: run log owned same?
-- args: id status channel token seq cid sets deletes ...
--       then `sets` fields each with its text, `deletes` fields, and log fragments
-- replies: as commit
-- include: wrongtype
-- include: clock
-- include: fence
-- include: patch
-- include: history

local DAY = 86400
local kinds = {[run] = 'hash', [log] = 'list', [owned] = 'set'}
if same then
  kinds[same] = 'zset'
end
local refusal = wrongtype(kinds) or fence(run, token, seq, cid)
if refusal then
  return refusal
end

local now = clock()
local completed = status == 'completed'
local kept = completed and 7 * DAY or 30 * DAY
record(log, seq, now, patch(run, rest, sets, deletes))
redis.call('HSET', run, 'ended_at', now, 'token', unheld(token))
redis.call('HDEL', run, 'owner')
redis.call('SREM', owned, id)
if same and completed then
  redis.call('ZREM', same, id)
end
if same then
  redis.call('EXPIRE', same, 30 * DAY)
end
redis.call('EXPIRE', run, kept)
redis.call('EXPIRE', log, kept)
redis.call('SPUBLISH', channel, status)
redis.call('HSET', run, 'seq', seq, 'cid', cid)
return {'OK'}
