-- ARGV: fifo   -> {waiting, delayed, leased, failed: jobs, events, bytes of each; oldest_ms or -1, processors, server_us,
--   paused; accepted, delivered, failed and purged events of all time}
local fifo = ARGV[1] == '1'
local stored, failed_jobs = call('ZCARD', Q), call('ZCARD', F)
local oldest = -1

local function created(id)
  if #id == 28 and string.match(id, '^%x+$') then
    local ms = tonumber(string.sub(id, 1, 12), 16)
    if oldest < 0 or ms < oldest then oldest = ms end
  end
end

local function sizes(ids)
  local events, bytes = 0, 0
  for from = 1, #ids, 1000 do
    for _, value in ipairs(call('HMGET', N, unpack(ids, from, math.min(from + 999, #ids)))) do
      local e, b = parse_size(value)
      events, bytes = events + e, bytes + b
    end
  end
  return events, bytes
end

local leased, held_back, live = {}, {}, {}
local leases = call('HGETALL', T)
for i = 1, #leases, 2 do
  local till, owner = parse_lease(leases[i + 1])
  if till > now then
    live[leases[i]] = true
    if owner ~= '' then leased[#leased + 1] = leases[i] else held_back[#held_back + 1] = leases[i] end
  end
end
local leased_events, leased_bytes = sizes(leased)

local delayed_jobs, delayed = #held_back, held_back
if not fifo then
  local later = '(' .. text(now)
  delayed_jobs, delayed = call('ZCOUNT', Q, later, '+inf'), {}
  for _, id in ipairs(call('ZRANGEBYSCORE', Q, later, '+inf', 'LIMIT', 0, 1000 + #leased)) do
    if not live[id] then
      if #delayed < 1000 then delayed[#delayed + 1] = id end
    else
      delayed_jobs = delayed_jobs - 1
    end
  end
end
local delayed_events, delayed_bytes = sizes(delayed)
if delayed_jobs > #delayed and #delayed > 0 then
  delayed_events = math.floor(delayed_events * delayed_jobs / #delayed)
  delayed_bytes = math.floor(delayed_bytes * delayed_jobs / #delayed)
end

for _, ids in ipairs({call('ZRANGE', Q, 0, 99), leased, delayed}) do
  for _, id in ipairs(ids) do created(id) end
end

local processors = 0
local seen = call('HVALS', P)
for _, at in ipairs(seen) do
  if now - number(at) <= 30000000 then processors = processors + 1 end
end

local failed_events, failed_bytes = total('failed_events'), total('failed_bytes')
return {
  math.max(stored - delayed_jobs - #leased, 0),
  math.max(total('events') - failed_events - delayed_events - leased_events, 0),
  math.max(total('bytes') - failed_bytes - delayed_bytes - leased_bytes, 0),
  delayed_jobs, delayed_events, delayed_bytes,
  #leased, leased_events, leased_bytes,
  failed_jobs, failed_events, failed_bytes,
  oldest, processors, now - skew,
  is_paused() and 1 or 0, total('accepted'), total('delivered'), total('buried'), total('purged'),
}
