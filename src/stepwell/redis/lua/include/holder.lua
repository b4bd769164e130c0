-- include: token
-- A reply if the holder of this token can't, or need not, give the run back; nil if it can.
local function holder(held, token)
  if held.token == unheld(held.token) and epoch_of(token) == epoch_of(held.token) then
    return {'DUP'}
  end
  if held.token ~= token then
    return {'LEASE_LOST', epoch_of(held.token)}
  end
end
