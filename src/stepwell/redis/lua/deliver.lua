#!lua
-- deliver: put a message into the inbox of a run, once.
-- promise: it stays there until a commit takes it, and its owner hears of it; a run that nobody
--          owns is due now. One that is not begun keeps its time, and a blocked one waits for code,
--          unless the message is urgent.
-- keys: run inbox keys mail due
-- args: id text key urgent owner queue workflow post due_news inbox_max keys_max field? wanted?
--       `field` holds `wanted`, or the message is refused
-- replies: OK number | DUP | OVER status | CLOSED field | FULL | CHANGED owner queue workflow
--          | SETTLE cid | GONE | CORRUPT field text | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: standing
-- include: moved
-- include: make_due

local wrong = wrongtype({
  [run] = 'hash', [inbox] = 'list', [keys] = 'zset', [mail] = 'set', [due] = 'zset',
})
if wrong then
  return wrong
end
local held, fault = standing(run)
if fault then
  return fault
end
if redis.call('ZSCORE', keys, key) then
  redis.call('HSET', run, 'token', held.token) -- so that this connection has something to wait for
  return {'DUP'}
end
if redis.call('HEXISTS', run, 'ended_at') == 1 then
  return {'OVER', held.status}
end
if field and held.staged then
  return {'SETTLE', held.staged}
end
if field and redis.call('HGET', run, field) ~= wanted then
  return {'CLOSED', field}
end
if redis.call('LLEN', inbox) >= tonumber(inbox_max) then
  return {'FULL'}
end
local sends = redis.call('HGET', run, 'sends') or '0'
if not string.match(sends, '^%d+$') then
  return {'CORRUPT', 'sends', sends}
end
local elsewhere = moved(run, owner, queue, workflow)
if elsewhere then
  return elsewhere
end

local now = clock()
local number = string.format('%.0f', sends + 1)
redis.call('HSET', run, 'sends', number)
redis.call('RPUSH', inbox, number .. ' ' .. text)
redis.call('ZADD', keys, number, key)
redis.call('ZREMRANGEBYRANK', keys, 0, -1 - keys_max)
if owner ~= '' then
  redis.call('SADD', mail, id)
  redis.call('SPUBLISH', post, id)
elseif urgent == '1' or (held.status ~= 'pending' and held.status ~= 'blocked') then
  local since = redis.call('ZSCORE', due, id)
  local when = since and tonumber(since) < tonumber(now) and since or now
  make_due(due, due_news, id, when, queue, workflow)
end
return {'OK', number}
