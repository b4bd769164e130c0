-- A reply that tells who has a run and in which lane it waits, if that is not what the caller
-- thinks, whose keys are those of another owner or lane then; nil if it is.
local function moved(run, owner, queue, workflow)
  local found = redis.call('HMGET', run, 'owner', 'queue', 'workflow')
  for i = 1, 3 do
    found[i] = found[i] or ''
  end
  if found[1] ~= owner or found[2] ~= queue or found[3] ~= workflow then
    return {'CHANGED', unpack(found)}
  end
end
