-- Move failed jobs to the end of the queue, as if they were new.
-- ARGV: ordering, id...   -> how many
begin()
local moved, events, bytes, last = 0, 0, 0, last_place(keeps_places(ARGV[1]), amount(meta_last))
for i = 2, #ARGV do
  local id = ARGV[i]
  if call('ZREM', FAILED, id) == 1 then
    local e, b = size_of(id)
    events, bytes, moved = events + e, bytes + b, moved + 1
    count_reason(call('HGET', CAUSES, id), -1, -e, -b)
    for _, key in ipairs({CAUSES, TRIES, LEASES}) do call('HDEL', key, id) end
    last = append(id, last)
  end
end
if moved > 0 then
  add_totals(0, 0, -events, -bytes, 'last', last, changed_lanes())
  wake(WAKE)
end
return moved
