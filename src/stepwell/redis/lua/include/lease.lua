-- Whether the lease of an owner lasts. One that ends in more than an hour was given before the
-- clock was set back: no lease is that long, so it counts as over.
local function lasts(owners, owner, now)
  local left = (tonumber(redis.call('ZSCORE', owners, owner) or 0) or 0) - now
  return left > 0 and left <= 3600000
end
