-- include: standing
-- A reply if this commit may not, or need not, be applied; nil if it is the next one.
local function fence(run, token, seq, cid)
  local held, fault = standing(run)
  if fault then
    return fault
  end
  if held.cid == cid and held.seq == seq then
    return {'DUP'}
  end
  if held.token ~= token then
    return {'LEASE_LOST', epoch_of(held.token)}
  end
  if tonumber(seq) ~= tonumber(held.seq) + 1 then
    return {'OUT_OF_ORDER', held.seq}
  end
end
