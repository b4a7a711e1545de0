-- How processors that were killed are forgotten. One sweeps for all of them: it looks at each.

local function sweep_processors()
  if now - amount(meta_swept) <= PROCESSOR_TTL then return end
  call('HSET', META, 'swept', now)
  local seen = call('HGETALL', PROCESSORS)
  for i = 1, #seen, 2 do
    if now - number(seen[i + 1]) > 10 * PROCESSOR_TTL then call('HDEL', PROCESSORS, seen[i]) end
  end
  local notes = call('HGETALL', NOTES)
  for i = 1, #notes, 2 do
    if call('HEXISTS', PROCESSORS, notes[i]) == 0 then call('HDEL', NOTES, notes[i]) end
  end
end
