-- Up to 16 owners whose lease ended more than a minute ago.
local function late(owners, now)
  local ended = string.format('%.0f', now - 60000)
  return redis.call('ZRANGEBYSCORE', owners, '-inf', ended, 'LIMIT', 0, 16)
end
