#!lua
-- appear: make an owner known in a partition, after it subscribed to its channel.
-- promise: its lease lasts from now.
-- keys: owners seen absent
-- args: owner channel lease_ms
-- replies: OK now owners-to-bury (up to 16 whose lease ended more than a minute ago)
--          subscribers lapsed (1 if it had no lease) | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: extend
-- include: late

local wrong = wrongtype({[owners] = 'zset', [seen] = 'hash', [absent] = 'hash'})
if wrong then
  return wrong
end
local now = clock()
local listening, lapsed = extend(owners, seen, absent, owner, channel, now, lease_ms)
return {'OK', now, late(owners, now), listening, lapsed}
