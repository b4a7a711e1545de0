-- What claim.lua, claim_fifo.lua and claim_lanes.lua share.
-- ARGV of all: token, limit, lease_us, queue_lease_ms, probe, idle, was_standby, max_bytes (-1: any), events per second (0: any);
-- only claim_fifo.lua needs queue_lease_ms
-- All reply {us until a job is due, role, (id, attempts, progress, stalled, payload_bytes)...}; while all processors stay away
-- from the data plane, {us, role, why}. The role adds up what holds of STANDBY and the others; SEALED: the partition takes no
-- new jobs.
-- Replied in the place of a time. BY_LANES: the queue keeps the order per user, so claim_lanes.lua is to be called. UNINDEXED: so
-- is index_lanes.lua first.
local NO_TIME, WHILE_PAUSED, BY_LANES, UNINDEXED = -1, -2, -3, -4
local STANDBY, HELD_UP, SEALED, HELD_BACK, FLEET_PROBE, FREE_PROBE, LIMITED = 1, 2, 4, 8, 16, 32, 64
local FARTHEST = 1e12 -- What is paid for beyond that, eleven days, is damaged.
local token, limit, probe, idle = ARGV[1], tonumber(ARGV[2]), ARGV[5] == '1', ARGV[6] == '1'
local max_bytes, rate = tonumber(ARGV[8]), tonumber(ARGV[9])
local found, role, is_limited = {}, 0, false

begin(COARSE)
-- A processor that knows an older ring must not write down anew what was deleted with its division.
if meta_retired then return {NO_TIME, SEALED} end
call('HSET', PROCESSORS, token, now)
sweep_processors() -- In a partition where it finds no jobs, a processor renews no lease.
role = meta_sealed == '1' and SEALED or 0
if is_paused() then return {WHILE_PAUSED, tonumber(ARGV[7]) + role} end

-- One that does not mean to send what it takes has nothing to do with the data plane.
local held = meta_hold and not idle and parse_hold(meta_hold)
if held then
  local wait = held.ends - now
  if wait <= 0 and held.prober ~= '' and held.prober ~= token and held.permit > now then
    local share = 0 -- How long this processor waits of the time over which all of them come back.
    for i = 1, #token do share = (33 * share + string.byte(token, i)) % 1021 end
    wait = math.min(held.permit - now, PROBE_POLL + share * math.floor(PROBE_SPREAD / 1021))
  end
  if wait > 0 then return {wait, tonumber(ARGV[7]) + role + HELD_BACK, held.why} end
end

-- Make this claim the probe of all processors.
local function admit()
  role = role + FLEET_PROBE + (now < held.dues and FREE_PROBE or 0)
  held.prober, held.permit = token, now + PROBE_PERMIT
  store_hold(held)
  limit, probe = 1, true
end

-- A job that may be handed out. A lease of another token ended without a word: that costs an attempt.
local function offered(id, owner, was_idle, tries, put_off)
  local attempts, progress = parse_tries(tries)
  local stalled = owner ~= '' and not was_idle
  if stalled then attempts = attempts + 1 end
  if attempts == 0 then put_off = 0 end
  return {id = id, attempts = attempts, progress = progress, stalled = stalled, put_off = put_off, place = #found}
end

-- Lease as many of the noted jobs as were asked for, and as few as max_bytes allows, but one; reply with them.
-- A probe takes those first that were tried least; of these, those that were not put off after it; and of these, the first.
local function lease_found(wait, fifo)
  if probe then
    table.sort(found, function(a, b)
      if a.attempts ~= b.attempts then return a.attempts < b.attempts end
      if a.put_off ~= b.put_off then return a.put_off < b.put_off end
      return a.place < b.place
    end)
  end
  local reply, bytes, is_more_due = {wait, role}, 0, #found > limit
  local till, leases, moves = now + tonumber(ARGV[3]), {}, {}
  local value = lease(text(till), token, idle)
  local paid = rate > 0 and not idle and math.min(math.max(total('paid'), now), now + FARTHEST)
  for i = 1, math.min(limit, #found) do
    local job = found[i]
    local size = call('HSTRLEN', PAYLOADS, job.id)
    bytes = bytes + size
    if i > 1 and max_bytes >= 0 and bytes > max_bytes then
      reply[1], is_more_due = 0, true
      break
    end
    if paid then -- Up to here all is paid for. It may be a burst ahead, and further for one job that came when all was paid.
      local cost = math.floor(size_of(job.id) / rate * SECOND + 0.5)
      local late = paid + cost - now - BURST
      if late > 0 and paid > now then
        is_limited, is_more_due = true, true
        reply[1], reply[2] = math.max(math.min(late, paid - now), LIMITED_POLL), role + LIMITED
        break
      end
      paid = paid + cost
    end
    leases[2 * i - 1], leases[2 * i] = job.id, value
    moves[2 * i - 1], moves[2 * i] = till, job.id
    if job.stalled then call('HSET', TRIES, job.id, text(job.attempts) .. ':' .. job.progress) end
    local at = 5 * i - 2
    reply[at], reply[at + 1], reply[at + 2] = job.id, job.attempts, job.progress
    reply[at + 3], reply[at + 4] = job.stalled and 1 or 0, size
  end
  if #leases > 0 then
    if not fifo then call('ZADD', ORDER, unpack(moves)) end
    call('HSET', LEASES, unpack(leases))
    if paid then call('HSET', META, 'paid', paid) end
  end
  return reply, is_more_due
end
