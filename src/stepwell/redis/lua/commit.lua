#!lua
-- commit: apply one patch to a run that the caller still holds.
-- promise: all of it is written or none; once, however often it is sent; by the holder only.
-- keys: run log
-- args: token seq cid sets deletes ...
--       then `sets` fields each with its text, `deletes` fields, and log fragments
-- replies: OK | DUP | LEASE_LOST epoch | OUT_OF_ORDER seq | GONE | CORRUPT field text
--          | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: fence
-- include: patch
-- include: history

local refusal = wrongtype({[run] = 'hash', [log] = 'list'}) or fence(run, token, seq, cid)
if refusal then
  return refusal
end
local fragments = patch(run, rest, sets, deletes)
if fragments <= #ARGV then
  record(log, seq, clock(), fragments)
end
redis.call('HSET', run, 'seq', seq, 'cid', cid)
return {'OK'}
