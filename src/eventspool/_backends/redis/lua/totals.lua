-- The queue's totals.

-- Totals are set and not incremented, so that a damaged one cannot make a script fail. When the queue is empty they become
-- zero. Further fields of META and their values are written along with them.
local function add_totals(events, bytes, failed_events, failed_bytes, ...)
  local has_failed = call('ZCARD', FAILED) > 0
  if has_failed then
    meta_failed_events = math.max(amount(meta_failed_events) + failed_events, 0)
    meta_failed_bytes = math.max(amount(meta_failed_bytes) + failed_bytes, 0)
  else
    meta_failed_events, meta_failed_bytes = 0, 0
  end
  if has_failed or call('ZCARD', ORDER) > 0 then
    meta_events = math.max(amount(meta_events) + events, 0)
    meta_bytes = math.max(amount(meta_bytes) + bytes, 0)
  else
    meta_events, meta_bytes = 0, amount(meta_bytes) >= SEALED_BYTES and SEALED_BYTES or 0
  end
  call('HSET', META, 'events', meta_events, 'bytes', meta_bytes,
    'failed_events', meta_failed_events, 'failed_bytes', meta_failed_bytes, ...)
end

-- Count events of all time, from which rates are made: "accepted", "delivered", "buried", "purged" and "moved". Return the
-- fields and values that add_totals is to write for that, and behind them the further ones that were given.
local function tally(field, events, ...)
  if events <= 0 then return ... end
  if field == 'delivered' then
    return field, total(field) + events, 'answered', now, ... -- fleet.lua says what for.
  end
  return field, total(field) + events, ...
end
