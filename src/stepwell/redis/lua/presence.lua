#!lua
-- presence: whether an owner still lives.
-- promise: GONE only if its lease is over, or if it was once seen subscribed on this incarnation of
--          the server and had no subscriber twice, `absent_ms` apart, on this incarnation.
-- keys: owners seen absent
-- args: owner channel absent_ms
-- replies: PRESENT | SUSPECT | GONE | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: lease
-- include: subscribers

local wrong = wrongtype({[owners] = 'zset', [seen] = 'hash', [absent] = 'hash'})
if wrong then
  return wrong
end
local now = clock()
if not lasts(owners, owner, now) then
  return {'GONE'}
end
if subscribers(channel) > 0 then
  redis.call('HDEL', absent, owner)
  return {'PRESENT'}
end
local here = incarnation()
if redis.call('HGET', seen, owner) ~= here then
  return {'PRESENT'}
end
local mark = redis.call('HGET', absent, owner) or ''
local since = tonumber(string.match(mark, '^' .. here .. ':(%d+)$'))
if not since or since > tonumber(now) then
  redis.call('HSET', absent, owner, here .. ':' .. now)
  return {'SUSPECT'}
end
if now - since < tonumber(absent_ms) then
  return {'SUSPECT'}
end
redis.call('ZADD', owners, 'XX', now, owner)
redis.call('HDEL', seen, owner)
redis.call('HDEL', absent, owner)
return {'GONE'}
