-- Drop the messages up to a number from an inbox, whose entries are `number text`.
local function take(inbox, taken)
  local head = redis.call('LINDEX', inbox, 0)
  local number = head and tonumber(string.match(head, '^(%d+) '))
  if number and number <= tonumber(taken) then
    redis.call('LTRIM', inbox, taken - number + 1, -1)
  end
end
