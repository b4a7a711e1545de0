-- Say how the queue is divided, and where a processor stands among the live ones in the order of their tokens.
-- ARGV: token   -> {the ring or "", live processors before it, live processors}
local seen, before, live = call('HGETALL', PROCESSORS), 0, 0
for i = 1, #seen, 2 do
  if is_live(seen[i + 1]) then
    live = live + 1
    if seen[i] < ARGV[1] then before = before + 1 end
  end
end
return {call('HGET', META, 'ring') or '', before, live}
