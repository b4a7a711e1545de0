-- Make delayed jobs due now.
-- ARGV: fifo, id...   -> how many
begin()
local fifo, moved = ARGV[1] == '1', 0
for i = 2, #ARGV do
  local id = ARGV[i]
  local score = call('ZSCORE', Q, id)
  if score then
    local till, owner = lease_of(id)
    if till > now then
      if owner == '' then -- FIFO: held back; its place in the order stays
        call('HDEL', T, id)
        if not fifo then call('ZADD', Q, text(now), id) end
        moved = moved + 1
      end
    elseif not fifo and tonumber(score) > now then
      call('ZADD', Q, text(now), id)
      moved = moved + 1
    end
  end
end
if moved > 0 then wake(W) end
return moved
