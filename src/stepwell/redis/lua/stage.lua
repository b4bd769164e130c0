#!lua
-- stage: put a slice of a patch that is too large for one script aside, until its commit names it.
-- promise: by the holder only, for its next commit only. Who reads the run does not see it.
-- keys: run stage
-- args: token seq cid ...
--       then `+field` each with its text, and `-field` each with nothing
-- replies: OK | as commit
-- include: wrongtype
-- include: fence
-- include: chunks

local refusal = wrongtype({[run] = 'hash', [stage] = 'hash'}) or fence(run, token, seq, cid)
if refusal then
  return refusal
end
if redis.call('HGET', stage, 'cid') ~= cid then
  redis.call('UNLINK', stage)
  redis.call('HSET', stage, 'cid', cid)
end
in_chunks('HSET', stage, ARGV, rest, #ARGV)
redis.call('EXPIRE', stage, 86400)
return {'OK'}
