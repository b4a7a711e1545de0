-- How a partition is closed for new jobs when a queue is divided anew.

local function is_sealed() return meta_sealed == '1' end

-- From now on a commit finds what is stored, and stores nothing. Processes of versions that know no partitions do not look at
-- the field "sealed". They find the queue full, since its bytes seem to be many, and keep their events in memory.
local function seal()
  local bytes = total('bytes')
  if bytes < SEALED_BYTES then bytes = bytes + SEALED_BYTES end
  call('HSET', META, 'sealed', '1', 'bytes', bytes)
  for _, list in ipairs({WAKE, STANDBY_WAKE}) do wake(list) end
end
