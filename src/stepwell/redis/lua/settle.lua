#!lua flags=allow-oom
-- settle: move a part of what a commit named from where it was put aside into its run.
-- promise: what the run holds with what is aside is the same before and after; so anybody may do
--          it, and as often as they like. Until all is moved, nothing else is committed.
-- keys: run stage
-- args: cid cursor limit
--       of the commit; where the last call stopped, 0 at first; about how many fields to move
-- replies: OK cursor bytes | DONE | CORRUPT field text | WRONGTYPE key expected found
-- include: wrongtype
-- include: chunks

local wrong = wrongtype({[run] = 'hash', [stage] = 'hash'})
if wrong then
  return wrong
end
if redis.call('HGET', run, 'staged') ~= cid then
  return {'DONE'}
end
if redis.call('HGET', stage, 'cid') ~= cid then
  return {'CORRUPT', 'staged', cid}
end

local page = redis.call('HSCAN', stage, cursor, 'COUNT', limit)
local sets, deletes, names, bytes = {}, {}, {}, 0
for i = 1, #page[2], 2 do
  local name, text = page[2][i], page[2][i + 1]
  local sign, field = string.sub(name, 1, 1), string.sub(name, 2)
  if sign == '+' then
    sets[#sets + 1], sets[#sets + 2] = field, text
  elseif sign == '-' then
    deletes[#deletes + 1] = field
  end
  if name ~= 'cid' then
    names[#names + 1] = name
    bytes = bytes + #name + #text
  end
end
in_chunks('HSET', run, sets, 1, #sets)
in_chunks('HDEL', run, deletes, 1, #deletes)
in_chunks('HDEL', stage, names, 1, #names)
if redis.call('HLEN', stage) == 1 then
  redis.call('UNLINK', stage)
  redis.call('HDEL', run, 'staged')
  return {'DONE'}
end
return {'OK', page[1], bytes}
