#!lua
-- finish: the commit that ends a run; its status is in the patch.
-- promise: as commit; and from then on nobody holds the run, and all of it has a time to live:
--          7 days if it completed, else 30. Messages that nobody read are counted in the log.
-- keys: run log inbox keys owned ended stage same?
-- args: id owner status news token seq cid taken staged sets deletes ...
--       `staged` fields were put aside; then `sets` fields each with its text, the books of the
--       commit among them, `deletes` fields, and log fragments
-- replies: as commit, and CHANGED owner
-- include: wrongtype
-- include: clock
-- include: fence
-- include: patch
-- include: take
-- include: staged
-- include: history

local DAY = 86400
local kinds = {
  [run] = 'hash', [log] = 'list', [inbox] = 'list', [keys] = 'zset', [owned] = 'set',
  [ended] = 'zset', [stage] = 'hash',
}
if same then
  kinds[same] = 'zset'
end
local refusal = wrongtype(kinds) or fence(run, token, seq, cid) or missing(stage, cid, staged)
if refusal then
  return refusal
end
local holder = redis.call('HGET', run, 'owner') or ''
if holder ~= owner then
  return {'CHANGED', holder}
end

local now = clock()
local completed = status == 'completed'
local kept = completed and 7 * DAY or 30 * DAY
record(log, seq, now, patch(run, rest, sets, deletes))
take(inbox, taken)
local unread = redis.call('LLEN', inbox)
if unread > 0 then
  note(log, seq, now, 'unread', epoch_of(token), tostring(unread))
end
redis.call('HSET', run, 'ended_at', now, 'token', unheld(token))
redis.call('HDEL', run, 'owner')
redis.call('SREM', owned, id)
redis.call('ZADD', ended, string.format('%.0f', now + kept * 1000), id)
if same and completed then
  redis.call('ZREM', same, id)
end
if same then
  redis.call('EXPIRE', same, 30 * DAY)
end
if staged ~= '0' then
  redis.call('HSET', run, 'staged', cid)
end
for _, key in ipairs({run, log, inbox, keys, stage}) do
  redis.call('EXPIRE', key, kept)
end
redis.call('SPUBLISH', news, status)
return {'OK'}
