-- Replace the payload of a job that nobody holds and of which nothing was sent.
-- ARGV: id, expected, payload, events   -> 1 or 0
begin()
local id = ARGV[1]
local failed = call('ZSCORE', F, id)
if not failed and not call('ZSCORE', Q, id) then return 0 end
local till, owner = lease_of(id)
local attempts, progress = parse_tries(call('HGET', O, id))
if (till > now and owner ~= '') or progress ~= '' or call('HGET', D, id) ~= ARGV[2] then return 0 end
if owner ~= '' then -- its lease ran out: a stale holder must not bring back what it read
  call('HDEL', T, id)
  call('HSET', O, id, text(attempts + 1) .. ':')
end
call('HSET', D, id, ARGV[3])
local events, bytes = size_of(id)
local more_events, more_bytes = number(ARGV[4]) - events, #ARGV[3] - bytes
call('HSET', N, id, ARGV[4] .. ':' .. text(#ARGV[3]))
if failed then count_reason(call('HGET', I, id), 0, more_events, more_bytes) end
add_totals(more_events, more_bytes, failed and more_events or 0, failed and more_bytes or 0)
tally('purged', -more_events)
return 1
