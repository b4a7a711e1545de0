-- Lease due jobs; any number of processors at once.
-- ARGV: token, limit, lease_us, probe   -> {us until the next is due or -1, (id, attempts, progress, stalled, payload_bytes)...}
begin(COARSE)
local token, limit, probe = ARGV[1], tonumber(ARGV[2]), ARGV[4] == '1'
call('HSET', P, token, text(now))
if is_paused() then return {1000000} end
local till = text(now + tonumber(ARGV[3]))
local ids = call('ZRANGEBYSCORE', Q, '-inf', text(now), 'LIMIT', 0, probe and 1000 or limit + 1)
local found = {}

if #ids > 0 then
  local leases, tries = call('HMGET', T, unpack(ids)), call('HMGET', O, unpack(ids))
  for i, id in ipairs(ids) do
    local held_till, holder = parse_lease(leases[i])
    if held_till > now then -- a FIFO processor holds it: there the order and the lease are kept apart
      call('ZADD', Q, text(held_till), id)
      if holder == '' then call('HDEL', T, id) end
    else
      local attempts, progress = parse_tries(tries[i])
      local stalled = holder ~= ''
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

local reply = {-1}
for i = 1, math.min(limit, #found) do
  local job = found[i]
  call('ZADD', Q, till, job.id)
  call('HSET', T, job.id, till .. ':' .. token)
  if job.stalled then call('HSET', O, job.id, text(job.attempts) .. ':' .. job.progress) end
  reply[#reply + 1] = job.id
  reply[#reply + 1] = job.attempts
  reply[#reply + 1] = job.progress
  reply[#reply + 1] = job.stalled and 1 or 0
  reply[#reply + 1] = call('HSTRLEN', D, job.id)
end
if #found > limit then
  if not probe then wake(W) end -- pass the baton
else
  local head = call('ZRANGE', Q, 0, 0, 'WITHSCORES')
  if #head > 0 then reply[1] = math.max(tonumber(head[2]) - now, 0) end
end
return reply
