-- include: chunks
-- Apply a patch: `sets` fields each followed by its text, then `deletes` fields, from ARGV[first].
-- Returns the index of the first argument after it.
local function patch(run, first, sets, deletes)
  local middle = first + 2 * sets
  in_chunks('HSET', run, ARGV, first, middle - 1)
  in_chunks('HDEL', run, ARGV, middle, middle + deletes - 1)
  return middle + deletes
end
