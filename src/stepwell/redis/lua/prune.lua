#!lua flags=allow-oom
-- prune: take names out of an index of runs whose runs are not there any more.
-- promise: a run that is there keeps its name.
-- keys: index
--       then the run of each name
-- args: ...
--       names
-- replies: OK name ... (those that were taken out) | WRONGTYPE key expected found
-- include: wrongtype

local wrong = wrongtype({[index] = 'zset'})
if wrong then
  return wrong
end
local reply = {'OK'}
for i = rest, #ARGV do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then
    redis.call('ZREM', index, ARGV[i])
    table.insert(reply, ARGV[i])
  end
end
return reply
