-- How many connections listen on a channel.
local function subscribers(channel)
  return redis.call('PUBSUB', 'SHARDNUMSUB', channel)[2]
end

-- The `run_id` of the server, another one after each restart; empty if we may not ask.
local here
local function incarnation()
  if not here then
    local info = redis.pcall('INFO', 'server')
    here = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
  end
  return here
end
