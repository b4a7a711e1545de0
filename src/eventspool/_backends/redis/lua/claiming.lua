-- What claim.lua, claim_fifo.lua and claim_lanes.lua share.
-- ARGV of all: token, limit, lease_us, queue_lease_ms, probe, idle, was_standby, max_bytes (-1: any);
-- only claim_fifo.lua needs queue_lease_ms
-- All reply {us until a job is due, role, (id, attempts, progress, stalled, payload_bytes)...}. The role adds up 1 for a stand-by,
-- HELD_UP, and SEALED where the partition takes no new jobs.
-- Replied in the place of a time. BY_LANES: the queue keeps the order per user, so claim_lanes.lua is to be called. UNINDEXED: so
-- is index_lanes.lua first.
local NO_TIME, WHILE_PAUSED, BY_LANES, UNINDEXED = -1, -2, -3, -4
local HELD_UP, SEALED = 2, 4
local token, limit, probe, idle = ARGV[1], tonumber(ARGV[2]), ARGV[5] == '1', ARGV[6] == '1'
local max_bytes = tonumber(ARGV[8])
local found = {}

begin(COARSE)
call('HSET', PROCESSORS, token, text(now))
local sealed = call('HGET', META, 'sealed') == '1' and SEALED or 0
if is_paused() then return {WHILE_PAUSED, tonumber(ARGV[7]) + sealed} end

-- Note that a job may be handed out. A lease of another token ended without a word: that costs an attempt.
local function offer(id, owner, was_idle, tries, put_off)
  local attempts, progress = parse_tries(tries)
  local stalled = owner ~= '' and not was_idle
  if stalled then attempts = attempts + 1 end
  if attempts == 0 then put_off = 0 end
  found[#found + 1] = {
    id = id, attempts = attempts, progress = progress, stalled = stalled, put_off = put_off, place = #found,
  }
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
  local till = text(now + tonumber(ARGV[3]))
  local reply, bytes = {wait, sealed}, 0
  for i = 1, math.min(limit, #found) do
    local job = found[i]
    local size = call('HSTRLEN', PAYLOADS, job.id)
    bytes = bytes + size
    if i > 1 and max_bytes >= 0 and bytes > max_bytes then
      reply[1] = 0
      return reply, true
    end
    if not fifo then call('ZADD', ORDER, till, job.id) end
    call('HSET', LEASES, job.id, lease(till, token, idle))
    if job.stalled then call('HSET', TRIES, job.id, text(job.attempts) .. ':' .. job.progress) end
    reply[#reply + 1] = job.id
    reply[#reply + 1] = job.attempts
    reply[#reply + 1] = job.progress
    reply[#reply + 1] = job.stalled and 1 or 0
    reply[#reply + 1] = size
  end
  return reply, #found > limit
end
