#!lua
-- unblock: make blocked runs of a lane due that were blocked by other code.
-- promise: it makes up to `limit` due, and looks at about 5,000; from `cursor` on, where the last
--          look ended.
-- keys: blocked due
-- args: fingerprint queue workflow cursor limit due_news
-- replies: OK cursor (0 if it came to the end) how-many | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: make_due

local wrong = wrongtype({[blocked] = 'hash', [due] = 'zset'})
if wrong then
  return wrong
end
local now, left = clock(), tonumber(limit)
for _ = 1, 5 do
  local page = redis.call('HSCAN', blocked, cursor, 'COUNT', 1000)
  cursor = page[1]
  for i = 1, #page[2], 2 do
    if left > 0 and page[2][i + 1] ~= fingerprint then
      redis.call('HDEL', blocked, page[2][i])
      make_due(due, due_news, page[2][i], now, queue, workflow)
      left = left - 1
    end
  end
  if left == 0 or cursor == '0' then
    break
  end
end
return {'OK', cursor, limit - left}
