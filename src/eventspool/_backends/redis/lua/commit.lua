-- Store and index jobs.
-- ARGV: ordering, max_jobs, max_bytes, token, told, (id, "events", or "events:attempts:progress" of a job that was moved, payload)...
-- -> the reply of committing.lua
-- The payload is "" where it was stored before, by the same transaction.
-- A durable call waits for this script, and each call of the server's costs it a microsecond. So the totals are written as
-- add_totals would write them, but with fewer.
if ARGV[1] == 'per_user' then keep_lanes() end
local placed = keeps_places(ARGV[1])
local last = last_place(placed, amount(meta_last))
for i = 6, #ARGV, 3 do
  local id, payload = ARGV[i], ARGV[i + 2]
  local events, tries = string.match(ARGV[i + 1], '^(%d+):?(.*)$')
  local is_new = payload ~= '' and call('HSETNX', PAYLOADS, id, payload) == 1
  if admit(id, events, placed, is_new and #payload) then
    last = append(id, last)
    if tries ~= '' then call('HSET', TRIES, id, tries) end
  end
end

if accepted > 0 then
  local none = failed == 0
  call('HSET', META, 'last', last, 'fifo', placed and '1' or '0',
    'events', amount(meta_events) + new_events, 'bytes', bytes + new_bytes,
    'failed_events', none and '0' or amount(meta_failed_events), 'failed_bytes', none and '0' or amount(meta_failed_bytes),
    'accepted', amount(meta_accepted) + new_events, changed_lanes())
  if now - noted > COARSE then note() end
  wake(WAKE)
end
return reply_to_commit()
