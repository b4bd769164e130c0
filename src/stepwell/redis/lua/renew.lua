#!lua flags=allow-oom
-- renew: let the lease of an owner last on.
-- promise: it lasts from now, whether it was over or not; the fence does not hang on it.
-- keys: owners seen absent
-- args: owner channel lease_ms
-- replies: OK now subscribers lapsed (1 if it was over) | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: extend

local wrong = wrongtype({[owners] = 'zset', [seen] = 'hash', [absent] = 'hash'})
if wrong then
  return wrong
end
local now = clock()
return {'OK', now, extend(owners, seen, absent, owner, channel, now, lease_ms)}
