#!lua
-- claim: take a run over from an owner that is gone, or that nobody has.
-- promise: of several claimers one wins; all tokens given before are refused from then on; sent
--          twice by the same one, it happens once. With `due_only`, it has to be due in its lane.
--          It must be due `since` then, and its last owner be `seen_epoch`, where they are not
--          empty: what comes late, after a try that was refused, takes no run that others had
--          meanwhile. What is no run there, or has an owner or an end, waits there no longer. The
--          claimer is listed, so that a sweep finds it; one that is not known has no lease.
-- keys: run log inbox keys due blocked owners seen absent mine theirs mail ended same?
--       `mail` is that of the former owner
-- args: id owner was nonce queue workflow due_only since seen_epoch news
-- replies: OK token seq fields (as they were before; of a large run, those only that change with it or
--          that the caller must know) claims parked messages (the first 100)
--          | LANE queue workflow (where it waits, if it is not that lane) | CHANGED | EARLY | OWNED
--          | TERMINAL | GONE | CORRUPT field text | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: standing
-- include: history
-- include: lease
-- include: forget
-- include: large

local kinds = {
  [run] = 'hash', [log] = 'list', [inbox] = 'list', [keys] = 'zset', [due] = 'zset',
  [blocked] = 'hash', [owners] = 'zset', [seen] = 'hash', [absent] = 'hash', [mine] = 'set',
  [theirs] = 'set', [mail] = 'set', [ended] = 'zset',
}
if same then
  kinds[same] = 'zset'
end
local wrong = wrongtype(kinds)
if wrong then
  return wrong
end
local held, fault = standing(run)
if fault then
  if fault[1] == 'GONE' then
    redis.call('ZREM', due, id)
    redis.call('HDEL', blocked, id)
  end
  return fault
end
local names = {'owner', 'queue', 'claims', 'parked', 'ended_at'}
local texts, books = redis.call('HMGET', run, unpack(names)), {}
for i, name in ipairs(names) do
  books[name] = texts[i] or ''
end
local fields
if is_large(run) then
  fields = {'status', held.status, 'queue', books.queue, 'staged', held.staged or ''}
else
  fields = redis.call('HGETALL', run)
end
local messages = redis.call('LRANGE', inbox, 0, 99)

if books.owner == owner and held.token == epoch_of(held.token) .. ':' .. nonce then
  local line = redis.call('LINDEX', log, -1)
  local before = line and cjson.decode(line)[6] or held.status
  for i = 1, #fields, 2 do
    if fields[i] == 'status' then
      fields[i + 1] = before
    end
  end
  return {'OK', held.token, held.seq, fields, books.claims, books.parked, messages}
end

local refusal
local now = clock()
local waits = tonumber(redis.call('ZSCORE', due, id) or nil)
if books.queue ~= queue or held.workflow ~= workflow then
  refusal = {'LANE', books.queue, held.workflow}
elseif held.status == 'completed' or (due_only == '1' and books.ended_at ~= '') then
  refusal = {'TERMINAL'}
elseif books.owner ~= was then
  refusal = {'CHANGED'}
end
if refusal then
  if refusal[1] ~= 'CHANGED' or books.owner ~= '' then
    redis.call('ZREM', due, id)
  end
  return refusal
end
if due_only == '1' and not (waits and waits <= tonumber(now)) then
  return {'EARLY'}
elseif due_only == '1' and since ~= '' and waits ~= tonumber(since) then
  return {'CHANGED'}
elseif seen_epoch ~= '' and epoch_of(held.token) ~= seen_epoch then
  return {'CHANGED'}
end
if was ~= '' and was ~= owner and lasts(owners, was, now) then
  return {'OWNED'}
end

local epoch = string.format('%.0f', epoch_of(held.token) + 1)
local token = epoch .. ':' .. nonce
local earlier = books.ended_at == '' and tonumber(books.claims) or 0
local claims = string.format('%.0f', earlier + 1)
redis.call('HSET', run, 'token', token, 'owner', owner, 'status', 'running', 'claims', claims)
redis.call('HDEL', run, 'ended_at')
local parked = books.parked == '1' and '0' or ''
if parked == '0' then
  redis.call('HSET', run, 'parked', parked)
else
  redis.call('HDEL', run, 'parked')
end
redis.call('SREM', theirs, id)
redis.call('SADD', mine, id)
redis.call('ZREM', due, id)
redis.call('HDEL', blocked, id)
redis.call('ZREM', ended, id)
if was ~= '' and redis.call('SCARD', theirs) == 0 then
  forget(owners, seen, absent, mail, was)
end
redis.call('ZADD', owners, 'NX', now, owner)
note(log, held.seq, now, 'claimed', epoch, held.status)
for _, key in ipairs({run, log, inbox, keys}) do
  redis.call('PERSIST', key)
end
if same then
  redis.call('PERSIST', same)
end
redis.call('SPUBLISH', news, 'claimed')
return {'OK', token, held.seq, fields, claims, parked, messages}
