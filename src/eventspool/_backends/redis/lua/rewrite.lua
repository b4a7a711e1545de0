-- Replace the payload of a job that no processor holds and of which nothing was sent.
-- ARGV: id, expected payload, new payload, events, positions of the events that this takes out, as JSON, or ""   -> 1 or 0
begin()
local id, expected, payload, new_events, positions = unpack(ARGV)
local failed = call('ZSCORE', FAILED, id)
if not failed and not call('ZSCORE', ORDER, id) then return 0 end
local till, owner, idle = lease_of(id)
local attempts, progress = parse_tries(call('HGET', TRIES, id))
if (till > now and owner ~= '') or progress ~= '' or call('HGET', PAYLOADS, id) ~= expected then return 0 end
if owner ~= '' then -- Its lease ran out. The processor that had it must not bring back the payload that it read.
  call('HDEL', LEASES, id)
  if not idle then call('HSET', TRIES, id, text(attempts + 1) .. ':') end
end
if positions ~= '' then
  remember(id, positions)
  forget_outdated()
end
call('HSET', PAYLOADS, id, payload)
local events, bytes = size_of(id)
local more_events, more_bytes = number(new_events) - events, #payload - bytes
call('HSET', SIZES, id, new_events .. ':' .. text(#payload))
if failed then count_reason(call('HGET', CAUSES, id), 0, more_events, more_bytes) end
add_totals(more_events, more_bytes, failed and more_events or 0, failed and more_bytes or 0)
tally('purged', -more_events)
return 1
