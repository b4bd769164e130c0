-- Let somebody own a run from then on who does not, and tell those who look for one.
local function make_due(due, channel, id, when, queue, workflow)
  redis.call('ZADD', due, when, id)
  redis.call('SPUBLISH', channel, queue .. ':' .. workflow)
end
