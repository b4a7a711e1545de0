-- The queue's totals.

-- Totals are set and not incremented, so that a damaged one cannot make a script fail. When the queue is empty they become
-- zero.
local function add_totals(events, bytes, failed_events, failed_bytes)
  local empty = call('ZCARD', FAILED) == 0
  local failed = {0, 0}
  if not empty then failed = {total('failed_events') + failed_events, total('failed_bytes') + failed_bytes} end
  local all = {0, 0}
  if not empty or call('ZCARD', ORDER) > 0 then
    all = {total('events') + events, total('bytes') + bytes}
  elseif total('bytes') >= SEALED_BYTES then
    all = {0, SEALED_BYTES}
  end
  call('HSET', META, 'events', text(math.max(all[1], 0)), 'bytes', text(math.max(all[2], 0)),
    'failed_events', text(math.max(failed[1], 0)), 'failed_bytes', text(math.max(failed[2], 0)))
end

-- Count events of all time, from which rates are made: "accepted", "delivered", "buried", "purged" and "moved".
local function tally(field, events)
  if events > 0 then call('HSET', META, field, text(total(field) + events)) end
end
