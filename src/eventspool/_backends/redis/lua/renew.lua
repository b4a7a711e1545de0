-- Extend leases, and note that the processor `token` is alive.
-- ARGV: ordering, token, lease_us, queue_lease_ms, note, id...   -> the ids whose lease was lost
begin(COARSE)
local fifo, placed = has_one_holder(ARGV[1]), keeps_places(ARGV[1])
local token, queue_lease_ms, note_of_token = ARGV[2], ARGV[4], ARGV[5]
local till = text(now + tonumber(ARGV[3]))
local lost, kept = {}, 0
if laned and ARGV[1] == 'per_user' then keep_lanes() end

call('HSET', PROCESSORS, token, now)
if note_of_token ~= '' then call('HSET', NOTES, token, note_of_token) end
sweep_processors()

local holder, usurped = find_usurper(fifo, token)
for i = 6, #ARGV do
  local id = ARGV[i]
  local _, owner, idle = lease_of(id)
  if usurped or owner ~= token or not call('ZSCORE', ORDER, id) then
    lost[#lost + 1] = id
  else
    kept = kept + 1
    call('HSET', LEASES, id, lease(till, token, idle))
    if not placed then call('ZADD', ORDER, till, id) end
  end
end
if fifo and not usurped and (holder or kept > 0) then hold(token, queue_lease_ms) end
return lost
