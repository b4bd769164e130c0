#!lua
-- time: what the clock of the server says.
-- promise: nothing is changed.
-- keys: meta
-- args: none
-- replies: OK now
-- include: clock

return {'OK', clock()}
