-- Make delayed jobs due now.
-- ARGV: ordering, id...   -> how many
begin()
local placed, moved = keeps_places(ARGV[1]), 0
for i = 2, #ARGV do
  local id = ARGV[i]
  if state_of(id, placed) == 'delayed' then
    if lease_of(id) > now then call('HDEL', LEASES, id) end -- FIFO holds it back there, and keeps its place in the order.
    if not placed then call('ZADD', ORDER, now, id) end
    moved = moved + 1
  end
end
if moved > 0 then wake(WAKE) end
return moved
