-- Queue payloads that no index knows.
-- ARGV: (id, events)...   -> how many
begin()
local found, events, bytes, last = 0, 0, 0, last_place(true, amount(meta_last))
for i = 1, #ARGV, 2 do
  local id = ARGV[i]
  if call('HEXISTS', PAYLOADS, id) == 1 and not call('ZSCORE', ORDER, id) and not call('ZSCORE', FAILED, id) then
    local size = call('HSTRLEN', PAYLOADS, id)
    found, events, bytes = found + 1, events + number(ARGV[i + 1]), bytes + size
    last = append(id, last)
    call('HSET', SIZES, id, ARGV[i + 1] .. ':' .. text(size))
  end
end
if found > 0 then
  add_totals(events, bytes, 0, 0, 'last', last, tally('accepted', events, changed_lanes()))
  wake(WAKE)
end
return found
