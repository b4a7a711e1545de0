-- Lease jobs, each where no earlier unfinished job shares a lane with it; any number of processors do so at once. Scores are
-- places in the order, and no times. A job that is leased, or waits for its retry, holds up what comes behind it in its lanes.
-- ARGV and the reply as in claiming.lua. Besides ARGV: chain, chain_bytes (-1: any), ordering. HELD_UP in the role: jobs are held up
-- by others, so that it is worth while to claim again when one of those ends.
-- `chain` is how many jobs that hold up one another may be leased together: they follow each other in the reply, and their
-- processor sends them in that order in one request.

if ARGV[12] == 'per_user' then keep_lanes() elseif not laned then return {0, 0} end
if not is_index_whole() then return {UNINDEXED, 0} end
if held then admit() end
local chain, chain_bytes = probe and 1 or tonumber(ARGV[10]), tonumber(ARGV[11])

-- Without chains the second job of a lane would be held up, so that the front would soon be given up.
local is_enough, is_sound, wait = false, true, nil
if chain > 1 then is_enough, wait = take_front(chain, chain_bytes) end
if not is_enough then is_sound, wait = ask_lanes(chain, chain_bytes) end
if not is_sound then
  call('HSET', META, 'lanes', '')
  return {UNINDEXED, 0}
end

local is_any_found = #found > 0
local reply, is_more_due = lease_found(NO_TIME, true)
if is_more_due then
  if not (probe or is_limited) then wake(WAKE) end -- Other lanes have jobs: another processor may take them.
elseif is_any_found or wait then
  reply[1] = math.min(wait or tonumber(ARGV[3]), is_any_found and tonumber(ARGV[3]) or wait)
end
if call('ZCARD', ORDER) > #found then reply[2] = reply[2] + HELD_UP end
return reply
