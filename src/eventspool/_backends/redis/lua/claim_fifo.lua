-- Lease the queue, and then its first jobs in order; one processor at a time. Scores are places in the order, and no times.
-- See claiming.lua for ARGV and the reply.
if laned and not give_up_lanes('1') then return {BY_LANES, 0} end
local queue_lease_ms, was_standby = ARGV[4], ARGV[7] == '1'
local holder, held_until = queue_holder()
if holder and holder ~= token then
  -- This process may have taken the wake token that was meant for the holder: put one back.
  if not was_standby and call('ZCARD', ORDER) > 0 then wake(WAKE) end
  return {held_until - now, STANDBY + role}
end
if held then admit() end
hold(token, queue_lease_ms)

local ids = call('ZRANGE', ORDER, 0, (probe and PROBE_DEPTH or limit) - 1)
local wait = NO_TIME
if #ids > 0 then
  local leases, tries = call('HMGET', LEASES, unpack(ids)), call('HMGET', TRIES, unpack(ids))
  for i, id in ipairs(ids) do
    local held_till, owner, was_idle = parse_lease(leases[i])
    local ours = owner == token and held_till > now
    local held_back = owner == '' and held_till > now
    if ours or (held_back and not probe) then
      -- The job is being sent, or waits for its retry. Strict order means that no job behind it may start.
      wait = held_till - now
      if ours then found = {} end
      break
    end
    -- Any other token has lost the queue, and with it its leases.
    found[#found + 1] = offered(id, owner, was_idle, tries[i], owner == '' and held_till or 0)
  end
end

local reply = lease_found(#found == 0 and wait or 0, true)
return reply
