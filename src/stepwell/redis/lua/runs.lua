#!lua
-- runs: the names of runs, those created last first.
-- promise: those that come after the run `after`, created at `before`. Nothing is changed.
-- keys: runs
-- args: limit before after
--       `+inf` and nothing for the first ones
-- replies: OK id created_at id created_at ... | WRONGTYPE key expected found
-- include: wrongtype

local wrong = wrongtype({[runs] = 'zset'})
if wrong then
  return wrong
end
local reply, seen, size = {'OK'}, 0, tonumber(limit)
repeat
  local page = redis.call(
    'ZREVRANGEBYSCORE', runs, before, '-inf', 'WITHSCORES', 'LIMIT', seen, size
  )
  for i = 1, #page, 2 do
    local passed = after ~= '' and tonumber(page[i + 1]) == tonumber(before) and page[i] >= after
    if not passed and #reply < 1 + 2 * size then
      table.insert(reply, page[i])
      table.insert(reply, page[i + 1])
    end
  end
  seen = seen + size
until #page == 0 or #reply >= 1 + 2 * size
return reply
