-- Lease jobs that are due; any number of processors do so at once. See claiming.lua for ARGV and the reply.
if laned and not give_up_lanes('0') then return {BY_LANES, 0} end
if held then admit() end
local ids = call('ZRANGEBYSCORE', ORDER, '-inf', now, 'LIMIT', 0, probe and PROBE_DEPTH or limit + 1)
if #ids > 0 then
  local leases, tries = call('HMGET', LEASES, unpack(ids)), call('HMGET', TRIES, unpack(ids))
  for i, id in ipairs(ids) do
    local held_till, owner, was_idle = parse_lease(leases[i])
    if held_till > now then -- A FIFO processor has leased it or put it off, and has left its place in the order.
      call('ZADD', ORDER, held_till, id)
      if owner == '' then call('HDEL', LEASES, id) end
    else
      found[#found + 1] = offered(id, owner, was_idle, tries[i], 0)
    end
  end
end

local reply, is_more_due = lease_found(NO_TIME, false)
if is_more_due then
  if not (probe or is_limited) then wake(WAKE) end -- More jobs are due: another processor may take them.
else
  local head = call('ZRANGE', ORDER, 0, 0, 'WITHSCORES')
  if #head > 0 then reply[1] = math.max(tonumber(head[2]) - now, 0) end
end
return reply
