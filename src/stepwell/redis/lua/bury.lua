#!lua flags=allow-oom
-- bury: forget an owner whose lease is over, and that has no runs.
-- promise: an owner that lives, or that has runs, is left alone.
-- keys: owners seen absent owned mail
-- args: owner
-- replies: OK | KEPT | WRONGTYPE key expected found
-- include: wrongtype
-- include: clock
-- include: lease
-- include: forget

local wrong = wrongtype({
  [owners] = 'zset', [seen] = 'hash', [absent] = 'hash', [owned] = 'set', [mail] = 'set',
})
if wrong then
  return wrong
end
if lasts(owners, owner, clock()) or redis.call('SCARD', owned) > 0 then
  return {'KEPT'}
end
forget(owners, seen, absent, mail, owner)
return {'OK'}
