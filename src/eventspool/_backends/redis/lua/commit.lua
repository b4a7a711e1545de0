-- Index jobs whose payloads the same transaction has stored.
-- ARGV: ordering, max_jobs, max_bytes, (id, "events", or "events:attempts:progress" of a job that was moved)...
-- -> the reply of committing.lua
local fifo = is_fifo(ARGV[1])
local last = last_place(fifo)
for i = 4, #ARGV, 2 do
  local id = ARGV[i]
  local events, tries = string.match(ARGV[i + 1], '^(%d+):?(.*)$')
  if admit(id, events, fifo) then
    last = append(id, last)
    if tries ~= '' then call('HSET', TRIES, id, tries) end
  end
end

if accepted > 0 then
  call('HSET', META, 'last', text(last), 'fifo', fifo and '1' or '0')
  if now - noted > COARSE then note() end
  add_totals(new_events, new_bytes, 0, 0)
  tally('accepted', new_events)
  wake(WAKE)
end
return reply_to_commit()
