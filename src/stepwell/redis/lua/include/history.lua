-- Append the fragments in ARGV[first] and after to the log, each as a line; the last 1,000 stay.
local function record(log, seq, now, first)
  local lines = 0
  for i = first, #ARGV do
    lines = redis.call('RPUSH', log, '[' .. seq .. ',' .. now .. ',' .. ARGV[i] .. ']')
  end
  if lines > 1000 then
    redis.call('LTRIM', log, -1000, -1)
  end
end

-- Append what happened to the run itself; no step can have a name in parentheses.
local function note(log, seq, now, what, epoch, detail)
  local fragment = '"(' .. what .. ')",' .. epoch .. ',0,' .. cjson.encode(detail)
  redis.call('RPUSH', log, '[' .. seq .. ',' .. now .. ',' .. fragment .. ']')
end
