-- include: standing
-- A reply if this commit may not, or need not, be applied; nil if it is the next one. One that is
-- there already is written again: what a connection waits for, until it is on disk or with the
-- replicas, is its own writing.
local function fence(run, token, seq, cid)
  local held, fault = standing(run)
  if fault then
    return fault
  end
  if held.cid == cid and held.seq == seq then
    redis.call('HSET', run, 'cid', cid)
    return {'DUP'}
  end
  if held.token ~= token then
    return {'LEASE_LOST', epoch_of(held.token)}
  end
  if tonumber(seq) ~= tonumber(held.seq) + 1 then
    return {'OUT_OF_ORDER', held.seq}
  end
  if held.staged then
    return {'SETTLE', held.staged}
  end
end
