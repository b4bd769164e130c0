-- include: chunks
-- Write the books and the fields of a new run, from ARGV[first] on, over what an earlier run of
-- this name may have left.
local function born(keys, id, now, first, books)
  redis.call('DEL', keys.log, keys.inbox, keys.keys)
  in_chunks('HSET', keys.run, ARGV, first, #ARGV)
  redis.call('HSET', keys.run, 'created_at', now, unpack(books))
  redis.call('ZADD', keys.runs, now, id)
  redis.call('ZREM', keys.ended, id)
  if keys.same then
    redis.call('ZADD', keys.same, now, id)
    redis.call('PERSIST', keys.same)
  end
end
