-- Say how many of the jobs that other partitions have leased go by the rate, and have these paid for, as claiming.lua does.
-- ARGV: events per second, the events of each job   -> {how many of the first ones go, us until another may}
local FARTHEST = 1e12 -- What is paid for beyond that, eleven days, is damaged.
begin(COARSE)
local rate, wait = tonumber(ARGV[1]), 0
local paid, count = math.min(math.max(total('paid'), now), now + FARTHEST), 0
for i = 2, #ARGV do
  local cost = math.floor(tonumber(ARGV[i]) / rate * SECOND + 0.5)
  local late = paid + cost - now - BURST
  if late > 0 and paid > now then
    wait = math.max(math.min(late, paid - now), LIMITED_POLL)
    break
  end
  paid, count = paid + cost, count + 1
end
call('HSET', META, 'paid', paid)
return {count, wait}
