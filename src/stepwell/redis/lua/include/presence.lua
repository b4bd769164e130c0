-- include: lease
-- include: subscribers
-- Whether an owner still lives: PRESENT, SUSPECT or GONE.
local function presence(owners, seen, absent, owner, channel, now, absent_ms)
  if not lasts(owners, owner, now) then
    return 'GONE'
  end
  if subscribers(channel) > 0 then
    redis.call('HDEL', absent, owner)
    return 'PRESENT'
  end
  local here = incarnation()
  if redis.call('HGET', seen, owner) ~= here then
    return 'PRESENT'
  end
  local mark = redis.call('HGET', absent, owner) or ''
  local since = tonumber(string.match(mark, '^' .. here .. ':(%d+)$'))
  if not since or since > tonumber(now) then
    redis.call('HSET', absent, owner, here .. ':' .. now)
    return 'SUSPECT'
  end
  if now - since < tonumber(absent_ms) then
    return 'SUSPECT'
  end
  redis.call('ZADD', owners, 'XX', now, owner)
  redis.call('HDEL', seen, owner)
  redis.call('HDEL', absent, owner)
  return 'GONE'
end
