-- A token is `epoch:nonce`; of a run that nobody holds it is `epoch:`.
local function epoch_of(token)
  return string.match(token, '^(%d+):')
end

local function unheld(token)
  return epoch_of(token) .. ':'
end
