#!lua flags=allow-oom
-- disappear: end the lease of an owner; forget it, unless runs are still in its name.
-- promise: an owner with runs is listed, with a lease that is over, until they are claimed.
-- keys: owners seen absent owned mail
-- args: owner
-- replies: OK | OWNING runs | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: forget

local wrong = wrongtype({
  [owners] = 'zset', [seen] = 'hash', [absent] = 'hash', [owned] = 'set', [mail] = 'set',
})
if wrong then
  return wrong
end
local runs = redis.call('SCARD', owned)
if runs == 0 then
  forget(owners, seen, absent, mail, owner)
  return {'OK'}
end
redis.call('HDEL', seen, owner)
redis.call('HDEL', absent, owner)
redis.call('ZADD', owners, clock(), owner)
return {'OWNING', runs}
