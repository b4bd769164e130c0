#!lua flags=allow-oom
-- mail: the runs of an owner that got messages since this was last asked.
-- promise: each is told once; sent twice by the same one, it is answered alike.
-- keys: mail mailed
-- args: nonce
-- replies: OK ids | WRONGTYPE key expected found
-- include: wrongtype

local wrong = wrongtype({[mail] = 'set', [mailed] = 'set'})
if wrong then
  return wrong
end
local mark = '(' .. nonce .. ')'
if redis.call('SISMEMBER', mailed, mark) == 0 then
  if redis.call('EXISTS', mail) == 0 then
    return {'OK', {}}
  end
  redis.call('RENAME', mail, mailed)
  redis.call('SADD', mailed, mark)
  redis.call('EXPIRE', mailed, 3600)
end
local ids = {}
for _, id in ipairs(redis.call('SMEMBERS', mailed)) do
  if id ~= mark then
    table.insert(ids, id)
  end
end
return {'OK', ids}
