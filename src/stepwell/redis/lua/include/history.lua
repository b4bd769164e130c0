-- Keep the last 1,000 lines of the log, of which there are so many now.
local function trim(log, lines)
  if lines > 1000 then
    redis.call('LTRIM', log, -1000, -1)
  end
end

-- Append the fragments in ARGV[first] and after to the log, each as a line.
local function record(log, seq, now, first)
  local lines = 0
  for i = first, #ARGV do
    lines = redis.call('RPUSH', log, '[' .. seq .. ',' .. now .. ',' .. ARGV[i] .. ']')
  end
  trim(log, lines)
end

-- Append what happened to the run itself; no step can have a name in parentheses.
local function note(log, seq, now, what, epoch, detail)
  local fragment = '"(' .. what .. ')",' .. epoch .. ',0,' .. cjson.encode(detail)
  trim(log, redis.call('RPUSH', log, '[' .. seq .. ',' .. now .. ',' .. fragment .. ']'))
end
