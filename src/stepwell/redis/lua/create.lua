#!lua
-- create: a new run that its creator owns.
-- promise: of several creators of one id one gets it; sent twice by the same one, it happens once.
--          The creator is listed, so that a sweep finds it; one that is not known has no lease.
-- keys: run log inbox keys runs ended owned owners same?
-- args: id owner nonce digest queue tags ...
--       then fields, each followed by its text
-- replies: OK | EXISTS | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: born
-- include: history

local kinds = {
  [run] = 'hash', [log] = 'list', [inbox] = 'list', [keys] = 'zset', [runs] = 'zset',
  [ended] = 'zset', [owned] = 'set', [owners] = 'zset',
}
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
  if held[1] ~= token or held[2] ~= owner then
    return {'EXISTS'}
  end
  redis.call('HSET', run, 'token', token) -- so that this connection has something to wait for
  return {'OK'}
end

local now = clock()
local all = {
  run = run, log = log, inbox = inbox, keys = keys, runs = runs, ended = ended, same = same,
}
born(all, id, now, rest, {
  'token', token, 'owner', owner, 'digest', digest, 'queue', queue, 'tags', tags, 'claims', 1,
})
note(log, 1, now, 'created', 1, '')
redis.call('SADD', owned, id)
redis.call('ZADD', owners, 'NX', now, owner)
redis.call('HSET', run, 'seq', 1, 'cid', nonce)
return {'OK'}
