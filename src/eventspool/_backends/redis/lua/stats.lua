-- Count by the indices.
-- ARGV: ordering   -> {waiting, delayed, leased, failed: jobs, events, bytes of each; oldest_ms or -1, processors, server_us,
--   paused; accepted, delivered, failed, purged and moved events of all time; us until which all processors stay away from the
--   data plane or 0, and why}
local DELAYED_SAMPLE = MAX_IDS -- The events and bytes of more delayed jobs are estimated from so many.
local ID_DIGITS, TIME_DIGITS = 28, 12 -- An id of ours begins with the milliseconds of its creation.
local OURS = '^%x+%-?%x*$' -- Behind a hyphen it says which lanes the job touches.
local CLOCK_OF = 'clock of '
local placed = keeps_places(ARGV[1])
local stored, failed_jobs = call('ZCARD', ORDER), call('ZCARD', FAILED)

local leased, held_back, live = {}, {}, {}
local leases = call('HGETALL', LEASES)
for i = 1, #leases, 2 do
  local till, owner = parse_lease(leases[i + 1])
  if till > now then
    live[leases[i]] = true
    if owner ~= '' then leased[#leased + 1] = leases[i] else held_back[#held_back + 1] = leases[i] end
  end
end
local leased_events, leased_bytes = add_up(leased)

local delayed_jobs, delayed = #held_back, held_back
if not placed then
  local later = '(' .. text(now)
  delayed_jobs, delayed = call('ZCOUNT', ORDER, later, '+inf'), {}
  for _, id in ipairs(call('ZRANGEBYSCORE', ORDER, later, '+inf', 'LIMIT', 0, DELAYED_SAMPLE + #leased)) do
    if not live[id] then
      if #delayed < DELAYED_SAMPLE then delayed[#delayed + 1] = id end
    else
      delayed_jobs = delayed_jobs - 1
    end
  end
end
local delayed_events, delayed_bytes = add_up(delayed)
if delayed_jobs > #delayed and #delayed > 0 then
  delayed_events = math.floor(delayed_events * delayed_jobs / #delayed)
  delayed_bytes = math.floor(delayed_bytes * delayed_jobs / #delayed)
end

-- An id has its producer's time. Where one of them has noted that its clock is apart, and where an id is of a time to come, the
-- time counts at which the server has stored the job, as far as the order still has it.
local apart = false
local known = call('HGETALL', META)
for i = 1, #known, 2 do apart = apart or string.sub(known[i], 1, #CLOCK_OF) == CLOCK_OF end

local oldest = -1
local function grow_old(id, score)
  local digits = (string.find(id, '-', 1, true) or #id + 1) - 1
  if digits ~= ID_DIGITS or not string.match(id, OURS) then return end
  local ms = tonumber(string.sub(id, 1, TIME_DIGITS), 16)
  local stored_at = (placed or not live[id]) and score <= now and (score - skew) / 1000
  if stored_at and (apart or ms > stored_at + 1000) then ms = stored_at end
  if oldest < 0 or ms < oldest then oldest = ms end
end
local first = call('ZRANGE', ORDER, 0, AGE_DEPTH - 1, 'WITHSCORES')
for i = 1, #first, 2 do grow_old(first[i], tonumber(first[i + 1])) end
for _, ids in ipairs({leased, delayed}) do
  for _, id in ipairs(ids) do grow_old(id, math.huge) end
end
oldest = math.floor(oldest)

local processors = 0
for _, seen in ipairs(call('HVALS', PROCESSORS)) do
  if is_live(seen) then processors = processors + 1 end
end

local held = parse_hold(call('HGET', META, 'hold'))
local failed_events, failed_bytes = total('failed_events'), total('failed_bytes')
return {
  math.max(stored - delayed_jobs - #leased, 0),
  math.max(total('events') - failed_events - delayed_events - leased_events, 0),
  math.max(without_seal(total('bytes')) - failed_bytes - delayed_bytes - leased_bytes, 0),
  delayed_jobs, delayed_events, delayed_bytes,
  #leased, leased_events, leased_bytes,
  failed_jobs, failed_events, failed_bytes,
  oldest, processors, now - skew,
  is_paused() and 1 or 0, total('accepted'), total('delivered'), total('buried'), total('purged'),
  total('moved'), held and held.ends - skew or 0, held and held.why or '',
}
