-- A command on a range of words, by the thousand: Lua can't pass more than about 8,000 values.
-- Fields and texts alternate in a range, so a chunk has an even size.
local function in_chunks(command, key, words, first, last)
  for i = first, last, 1000 do
    redis.call(command, key, unpack(words, i, math.min(i + 999, last)))
  end
end
