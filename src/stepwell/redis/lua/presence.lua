#!lua
-- presence: whether an owner still lives.
-- promise: GONE only if its lease is over, or if it was once seen subscribed on this incarnation of
--          the server and had no subscriber twice, `absent_ms` apart, on this incarnation.
-- keys: owners seen absent
-- args: owner channel absent_ms
-- replies: PRESENT | SUSPECT | GONE | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: presence

local wrong = wrongtype({[owners] = 'zset', [seen] = 'hash', [absent] = 'hash'})
if wrong then
  return wrong
end
return {presence(owners, seen, absent, owner, channel, clock(), absent_ms)}
