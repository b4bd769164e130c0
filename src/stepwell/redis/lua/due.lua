#!lua
-- due: which runs of some lanes are due, longest first in each lane.
-- promise: none is told early, by the server's clock. Nothing is changed.
-- keys: ...
--       the lanes, each a `due`
-- args: limit
-- replies: OK next lane id since lane id since ... (lanes by number, from 0; `since` when it is due, as
--          the lane has it; `next` in ms, -1 if nothing comes later) | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock

local kinds = {}
for _, lane in ipairs(KEYS) do
  kinds[lane] = 'zset'
end
local wrong = wrongtype(kinds)
if wrong then
  return wrong
end
local now, left, soonest = clock(), tonumber(limit), -1
local reply = {'OK', soonest}
for number, lane in ipairs(KEYS) do
  local waiting = redis.call('ZRANGEBYSCORE', lane, '-inf', now, 'WITHSCORES', 'LIMIT', 0, left)
  for i = 1, #waiting, 2 do
    table.insert(reply, number - 1)
    table.insert(reply, waiting[i])
    table.insert(reply, waiting[i + 1])
    left = left - 1
  end
  local later = redis.call('ZRANGEBYSCORE', lane, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  local wait = later[2] and later[2] - now
  if wait and (soonest < 0 or wait < soonest) then
    soonest = wait
  end
end
reply[2] = soonest
return reply
