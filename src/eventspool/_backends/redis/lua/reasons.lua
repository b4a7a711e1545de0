-- Read how many jobs failed for which reason. Or write down what was counted anew, where that is given.
-- ARGV: (reason, "jobs:events:bytes")...
-- -> {1 where these are as many jobs as have failed, else 0, (reason, jobs, events, bytes)...}
local fields = call('HGETALL', META)
if #ARGV > 0 then
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'r:' then call('HDEL', META, fields[i]) end
  end
  for i = 1, #ARGV, 2 do
    if ARGV[i] ~= '' then call('HSET', META, 'r:' .. ARGV[i], ARGV[i + 1]) end
  end
  return {1}
end
local reply, counted = {0}, 0
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 2) == 'r:' then
    local jobs, events, bytes = parse_depth(fields[i + 1])
    counted = counted + jobs
    for _, figure in ipairs({string.sub(fields[i], 3), jobs, events, bytes}) do reply[#reply + 1] = figure end
  end
end
if counted == call('ZCARD', FAILED) then reply[1] = 1 end
return reply
