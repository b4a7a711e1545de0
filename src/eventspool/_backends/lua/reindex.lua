-- Queue payloads that no index knows.
-- ARGV: (id, events)...   -> how many
begin()
local found, events, bytes, last = 0, 0, 0, last_place(true)
for i = 1, #ARGV, 2 do
  local id = ARGV[i]
  if call('HEXISTS', D, id) == 1 and not call('ZSCORE', Q, id) and not call('ZSCORE', F, id) then
    local size = call('HSTRLEN', D, id)
    found, events, bytes = found + 1, events + number(ARGV[i + 1]), bytes + size
    last = math.max(now, last + 1)
    call('ZADD', Q, text(last), id)
    call('HSET', N, id, ARGV[i + 1] .. ':' .. text(size))
  end
end
if found > 0 then
  call('HSET', M, 'last', text(last))
  add_totals(events, bytes, 0, 0)
  tally('accepted', events)
  wake(W)
end
return found
