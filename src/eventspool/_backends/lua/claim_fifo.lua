-- Lease the queue (L) and its first jobs in order; one processor at a time. Scores are places in the order, never times.
-- ARGV: token, limit, lease_us, probe, queue_lease_ms, was_standby   -> {wait_us or -1, standby, (id, attempts, progress, stalled, payload_bytes)...}
begin(COARSE)
local token, limit, probe = ARGV[1], tonumber(ARGV[2]), ARGV[4] == '1'
call('HSET', P, token, text(now))
if is_paused() then return {1000000, tonumber(ARGV[6])} end
local till = text(now + tonumber(ARGV[3]))
local holder, held_until = queue_holder()
if holder and holder ~= token then
  if ARGV[6] ~= '1' and call('ZCARD', Q) > 0 then wake(W) end -- we may have taken the token that was meant for it
  return {held_until - now, 1}
end
hold(token, ARGV[5])

local ids = call('ZRANGE', Q, 0, probe and 999 or limit - 1)
local found, wait = {}, -1
if #ids > 0 then
  local leases, tries = call('HMGET', T, unpack(ids)), call('HMGET', O, unpack(ids))
  for i, id in ipairs(ids) do
    local held_till, owner = parse_lease(leases[i])
    local ours = owner == token and held_till > now
    local held_back = owner == '' and held_till > now
    if ours or (held_back and not probe) then
      -- In flight, or waiting for its retry: strict order means that nothing behind it may start.
      wait = held_till - now
      if ours then found = {} end
      break
    else
      -- A lease of another token is void: its holder has lost the queue.
      local attempts, progress = parse_tries(tries[i])
      local stalled = owner ~= ''
      if stalled then attempts = attempts + 1 end
      found[#found + 1] = {id = id, attempts = attempts, progress = progress, stalled = stalled, place = i}
    end
  end
end

if probe then
  table.sort(found, function(a, b)
    if a.attempts ~= b.attempts then return a.attempts < b.attempts end
    return a.place < b.place
  end)
end

if #found == 0 then return {wait, 0} end

local reply = {0, 0}
for i = 1, math.min(limit, #found) do
  local job = found[i]
  call('HSET', T, job.id, till .. ':' .. token)
  if job.stalled then call('HSET', O, job.id, text(job.attempts) .. ':' .. job.progress) end
  reply[#reply + 1] = job.id
  reply[#reply + 1] = job.attempts
  reply[#reply + 1] = job.progress
  reply[#reply + 1] = job.stalled and 1 or 0
  reply[#reply + 1] = call('HSTRLEN', D, job.id)
end
return reply
