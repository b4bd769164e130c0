#!lua flags=allow-oom
-- sweep: look for owners that are gone, and forget the names of runs whose time to live is over.
-- promise: GONE is who is gone by `presence`. It looks at up to 16 owners whose lease ended, at up
--          to 16 that were found absent, at the 8 that were not renewed for longest, and at 8 at
--          random: asked again and again, it finds all. It forgets up to 100 names.
-- keys: owners seen absent runs ended
-- args: channels absent_ms
--       the beginning of the names of the channels that owners listen to
-- replies: OK gone owners-to-bury (up to 16 whose lease ended more than a minute ago)
--          forgotten (names) owners (how many have a lease that is not over)
--          | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: presence
-- include: late

local wrong = wrongtype({
  [owners] = 'zset', [seen] = 'hash', [absent] = 'hash', [runs] = 'zset', [ended] = 'zset',
})
if wrong then
  return wrong
end
local now = clock()
local suspects = {
  redis.call('ZRANGEBYSCORE', owners, '-inf', now, 'LIMIT', 0, 16),
  redis.call('HRANDFIELD', absent, 16),
  redis.call('ZRANGEBYSCORE', owners, '(' .. now, '+inf', 'LIMIT', 0, 8), -- not renewed for longest
  redis.call('ZRANDMEMBER', owners, 8),
}
local asked, gone = {}, {}
for _, some in ipairs(suspects) do
  for _, owner in ipairs(some) do
    if not asked[owner] then
      local channel = channels .. owner
      asked[owner] = presence(owners, seen, absent, owner, channel, now, absent_ms)
      if asked[owner] == 'GONE' then
        table.insert(gone, owner)
      end
    end
  end
end

local over = redis.call('ZRANGEBYSCORE', ended, '-inf', now, 'LIMIT', 0, 100)
if #over > 0 then
  redis.call('ZREM', runs, unpack(over))
  redis.call('ZREM', ended, unpack(over))
end
return {'OK', gone, late(owners, now), over, redis.call('ZCOUNT', owners, '(' .. now, '+inf')}
