#!lua
-- enqueue: a new run that nobody owns; it is due after `delay_ms`.
-- promise: of several creators of one id one gets it; sent twice by the same one, it happens once,
--          also when somebody went on with the run in between.
-- keys: run log inbox keys runs ended due same?
-- args: id nonce digest queue tags workflow delay_ms due_news ...
--       then fields, each followed by its text
-- replies: OK | EXISTS | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: born
-- include: history
-- include: make_due

local kinds = {
  [run] = 'hash', [log] = 'list', [inbox] = 'list', [keys] = 'zset', [runs] = 'zset',
  [ended] = 'zset', [due] = 'zset',
}
if same then
  kinds[same] = 'zset'
end
local wrong = wrongtype(kinds)
if wrong then
  return wrong
end
if redis.call('EXISTS', run) == 1 then
  if redis.call('ZSCORE', keys, nonce) ~= '0' then
    return {'EXISTS'}
  end
  redis.call('HSET', run, 'queue', queue) -- so that this connection has something to wait for
  return {'OK'}
end

local now = clock()
local all = {
  run = run, log = log, inbox = inbox, keys = keys, runs = runs, ended = ended, same = same,
}
born(all, id, now, rest, {
  'token', '1:', 'digest', digest, 'queue', queue, 'tags', tags, 'claims', 0, 'parked', 1,
})
note(log, 1, now, 'enqueued', 1, '')
redis.call('ZADD', keys, 0, nonce)
make_due(due, due_news, id, string.format('%.0f', now + delay_ms), queue, workflow)
redis.call('HSET', run, 'seq', 1, 'cid', nonce)
return {'OK'}
