-- Replace the payloads of jobs that no processor holds and of which nothing was sent.
-- ARGV: (id, expected payload, new payload, events, positions of the events that are out of it, as JSON, or "")...
-- -> 1 or 0 for each
begin()

local function rewrite(id, expected, payload, new_events, positions)
  local failed = call('ZSCORE', FAILED, id)
  if not failed and not call('ZSCORE', ORDER, id) then return 0 end
  local till, owner, idle = lease_of(id)
  local attempts, progress = parse_tries(call('HGET', TRIES, id))
  if (till > now and owner ~= '') or progress ~= '' or call('HGET', PAYLOADS, id) ~= expected then return 0 end
  if owner ~= '' then -- Its lease ran out. The processor that had it must not bring back the payload that it read.
    call('HDEL', LEASES, id)
    if not idle then call('HSET', TRIES, id, text(attempts + 1) .. ':') end
  end
  if positions ~= '' then remember(id, positions) end
  call('HSET', PAYLOADS, id, payload)
  local events, bytes = size_of(id)
  local more_events, more_bytes = number(new_events) - events, #payload - bytes
  call('HSET', SIZES, id, new_events .. ':' .. text(#payload))
  if failed then count_reason(call('HGET', CAUSES, id), 0, more_events, more_bytes) end
  add_totals(more_events, more_bytes, failed and more_events or 0, failed and more_bytes or 0, tally('purged', -more_events))
  return 1
end

local reply = {}
for i = 1, #ARGV, 5 do reply[#reply + 1] = rewrite(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]) end
forget_outdated()
return reply
