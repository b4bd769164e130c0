-- A reply if what a commit puts aside is not all there; nil if it is, or if it put nothing aside.
local function missing(stage, cid, staged)
  if staged == '0' then
    return nil
  end
  if redis.call('HGET', stage, 'cid') ~= cid or redis.call('HLEN', stage) ~= staged + 1 then
    return {'UNSTAGED'}
  end
end
