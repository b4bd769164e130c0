#!lua
-- commit: apply one patch to a run that the caller still holds.
-- promise: all of it is written or none; once, however often it is sent; by the holder only.
-- keys: run log inbox? stage?
-- args: token seq cid taken staged sets deletes ...
--       `staged` fields were put aside; then `sets` fields each with its text, the books of the
--       commit among them, `deletes` fields, and log fragments
-- replies: OK | DUP | LEASE_LOST epoch | OUT_OF_ORDER seq | SETTLE cid (what was put aside by that
--          commit is not moved yet) | UNSTAGED | GONE | CORRUPT field text
--          | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: fence
-- include: patch
-- include: take
-- include: staged
-- include: history

local kinds = {[log] = 'list'}
if inbox then
  kinds[inbox] = 'list'
end
if stage then
  kinds[stage] = 'hash'
end
local refusal = wrongtype(kinds) or fence(run, token, seq, cid) or missing(stage, cid, staged)
if refusal then
  return refusal
end
local fragments = patch(run, rest, sets, deletes)
if fragments <= #ARGV then
  record(log, seq, clock(), fragments)
end
if inbox then
  take(inbox, taken)
end
if staged ~= '0' then
  redis.call('PERSIST', stage)
  redis.call('HSET', run, 'staged', cid)
end
return {'OK'}
