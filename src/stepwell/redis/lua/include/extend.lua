-- include: lease
-- include: subscribers
-- Let the lease of an owner end `lease` ms from now, and note that it was seen subscribed.
-- Returns the number of its subscribers, and 1 if the lease was over, else 0.
local function extend(owners, seen, absent, owner, channel, now, lease)
  local listening = subscribers(channel)
  local lapsed = lasts(owners, owner, now) and 0 or 1
  redis.call('ZADD', owners, string.format('%.0f', now + lease), owner)
  if listening > 0 then
    redis.call('HSET', seen, owner, incarnation())
    redis.call('HDEL', absent, owner)
  end
  return listening, lapsed
end
