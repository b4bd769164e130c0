-- A reply that names the first key that holds something else than it should; nil if all are well.
-- It comes before all writes: what a script wrote before it fails stays written.
local function wrongtype(kinds)
  for key, kind in pairs(kinds) do
    local found = redis.call('TYPE', key).ok
    if found ~= kind and found ~= 'none' then
      return {'WRONGTYPE', key, kind, found}
    end
  end
end
