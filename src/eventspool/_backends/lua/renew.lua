-- Extend leases, and note that `token` is alive.
-- ARGV: fifo, token, lease_us, queue_lease_ms, note, id...   -> the ids whose lease was lost
begin(COARSE)
local fifo, token = ARGV[1] == '1', ARGV[2]
local till = text(now + tonumber(ARGV[3]))
local lost, kept = {}, 0

call('HSET', P, token, text(now))
if ARGV[5] ~= '' then call('HSET', H, token, ARGV[5]) end
if now - total('swept') > 30000000 then -- once for all processors: each looks at all of them
  call('HSET', M, 'swept', text(now))
  local seen = call('HGETALL', P)
  for i = 1, #seen, 2 do
    if now - number(seen[i + 1]) > 300000000 then call('HDEL', P, seen[i]) end
  end
  local notes = call('HGETALL', H)
  for i = 1, #notes, 2 do
    if call('HEXISTS', P, notes[i]) == 0 then call('HDEL', H, notes[i]) end
  end
end

local holder = fifo and queue_holder()
local usurped = holder and holder ~= token
for i = 6, #ARGV do
  local id = ARGV[i]
  local _, owner = lease_of(id)
  if usurped or owner ~= token or not call('ZSCORE', Q, id) then
    lost[#lost + 1] = id
  else
    kept = kept + 1
    call('HSET', T, id, till .. ':' .. token)
    if not fifo then call('ZADD', Q, till, id) end
  end
end
if fifo and not usurped and (holder or kept > 0) then hold(token, ARGV[4]) end
return lost
