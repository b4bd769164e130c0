#!lua
-- create: a new run that its creator owns.
-- promise: of several creators of one id one gets it; sent twice by the same one, it happens once.
-- keys: run log owned same?
-- args: id owner nonce digest ...
--       then fields, each followed by its text
-- replies: OK | EXISTS | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: chunks
-- include: history

local kinds = {[run] = 'hash', [log] = 'list', [owned] = 'set'}
if same then
  kinds[same] = 'zset'
end
local wrong = wrongtype(kinds)
if wrong then
  return wrong
end
local token = '1:' .. nonce
if redis.call('EXISTS', run) == 1 then
  local held = redis.call('HMGET', run, 'token', 'owner')
  return {held[1] == token and held[2] == owner and 'OK' or 'EXISTS'}
end

local now = clock()
in_chunks('HSET', run, rest, #ARGV)
redis.call('HSET', run, 'token', token, 'owner', owner, 'digest', digest, 'created_at', now)
redis.call('DEL', log)
note(log, 1, now, 'created', 1, '')
redis.call('SADD', owned, id)
if same then
  redis.call('ZADD', same, now, id)
  redis.call('PERSIST', same)
end
redis.call('HSET', run, 'seq', 1, 'cid', nonce)
return {'OK'}
