-- include: token
-- Let nobody hold a run; the epoch stays, so that the next one is higher.
local function give_up(run, owned, id, held)
  redis.call('HDEL', run, 'owner')
  redis.call('SREM', owned, id)
  redis.call('HSET', run, 'token', unheld(held.token))
end

-- Let its holder go, who lives: so the claim was nobody's death.
local function give_back(run, owned, id, held)
  local claims = tonumber(redis.call('HGET', run, 'claims') or 0) or 0
  redis.call('HSET', run, 'claims', string.format('%.0f', math.max(0, claims - 1)))
  give_up(run, owned, id, held)
end
