-- Milliseconds of the server's clock, as text that keeps all digits.
local function clock()
  local now = redis.call('TIME')
  return string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
end
