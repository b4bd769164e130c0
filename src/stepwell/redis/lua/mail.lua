#!lua flags=allow-oom
-- mail: the runs of an owner that got messages since this was last asked.
-- promise: each is told until an answer with it was heard; sent twice by the same one, it is answered
--          alike. So what a try was told that came late, when nobody listened, is told again.
-- keys: mail mailed
-- args: nonce heard
--       `heard` is the nonce of the last question whose answer was heard
-- replies: OK ids | WRONGTYPE key expected found
-- include: wrongtype
-- include: chunks

local wrong = wrongtype({[mail] = 'set', [mailed] = 'set'})
if wrong then
  return wrong
end
-- The runs that were told, and to which question: its nonce in brackets, which no id has.
local function told()
  local ids, question = {}, ''
  for _, name in ipairs(redis.call('SMEMBERS', mailed)) do
    if string.sub(name, 1, 1) == '(' then
      question = name
    else
      table.insert(ids, name)
    end
  end
  return ids, question
end
local ids, question = told()
local asked = '(' .. nonce .. ')'
if question == asked then
  return {'OK', ids}
elseif question == '(' .. heard .. ')' then
  redis.call('UNLINK', mailed)
elseif question ~= '' then
  redis.call('SREM', mailed, question)
end
local more = redis.call('SMEMBERS', mail)
if redis.call('EXISTS', mailed) == 1 then
  in_chunks('SADD', mailed, more, 1, #more)
  redis.call('UNLINK', mail)
elseif #more > 0 then
  redis.call('RENAME', mail, mailed)
else
  return {'OK', {}}
end
ids = redis.call('SMEMBERS', mailed)
redis.call('SADD', mailed, asked)
redis.call('EXPIRE', mailed, 3600)
return {'OK', ids}
