-- include: token
-- include: wrongtype
-- What a run must have to be one, by name; or nil and a reply that says what is wrong with it.
local function standing(run)
  local names = {'token', 'seq', 'cid', 'format', 'workflow', 'status'}
  local texts = redis.pcall('HMGET', run, 'staged', unpack(names))
  if texts.err then
    return nil, wrongtype({[run] = 'hash'})
  end
  local held = {}
  for i, name in ipairs(names) do
    if not texts[i + 1] then
      return nil, {'GONE'}
    end
    held[name] = texts[i + 1]
  end
  if not epoch_of(held.token) then
    return nil, {'CORRUPT', 'token', held.token}
  end
  if not string.match(held.seq, '^%d+$') then
    return nil, {'CORRUPT', 'seq', held.seq}
  end
  held.staged = texts[1]
  return held
end
