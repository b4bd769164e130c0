#!lua flags=allow-oom
-- disown: take a run off the list of an owner's runs.
-- promise: the run itself is not touched.
-- keys: owned
-- args: id
-- replies: OK | WRONGTYPE key expected found
-- include: wrongtype

local wrong = wrongtype({[owned] = 'set'})
if wrong then
  return wrong
end
redis.call('SREM', owned, id)
return {'OK'}
