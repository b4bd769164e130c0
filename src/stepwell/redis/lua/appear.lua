#!lua
-- appear: make an owner known in a partition, after it subscribed to its channel.
-- promise: its lease lasts from now.
-- keys: owners seen absent
-- args: owner channel lease_ms
-- replies: OK subscribers owners-to-bury (up to 16 whose lease ended more than a minute ago)
--          | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: extend

local wrong = wrongtype({[owners] = 'zset', [seen] = 'hash', [absent] = 'hash'})
if wrong then
  return wrong
end
local now = clock()
local listening = extend(owners, seen, absent, owner, channel, now, lease_ms)
local ended = string.format('%.0f', now - 60000)
return {'OK', listening, redis.call('ZRANGEBYSCORE', owners, '-inf', ended, 'LIMIT', 0, 16)}
