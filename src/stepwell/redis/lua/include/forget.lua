-- Forget an owner, and the mail that it did not fetch.
local function forget(owners, seen, absent, mail, owner)
  redis.call('ZREM', owners, owner)
  redis.call('HDEL', seen, owner)
  redis.call('HDEL', absent, owner)
  redis.call('DEL', mail)
end
