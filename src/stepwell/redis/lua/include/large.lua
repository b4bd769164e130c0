-- Whether a hash is too large to be told by a script: it has more than 5,000 fields, or about more
-- than 1 MB. A few fields at random stand for all, so the answer may be another one next time.
local function is_large(key)
  local size = redis.call('HLEN', key)
  if size > 5000 then
    return true
  end
  local sample, bytes = redis.call('HRANDFIELD', key, 16, 'WITHVALUES'), 0
  for _, word in ipairs(sample) do
    bytes = bytes + #word
  end
  return bytes / (#sample / 2) * size > 1000000
end
