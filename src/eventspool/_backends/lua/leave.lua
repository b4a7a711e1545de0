-- Give back everything that `token` holds, as if it had never been claimed.
-- ARGV: fifo, token
begin()
local fifo, token = ARGV[1] == '1', ARGV[2]
local leases = call('HGETALL', T)
for i = 1, #leases, 2 do
  local _, owner = parse_lease(leases[i + 1])
  if owner == token then
    local score = call('ZSCORE', Q, leases[i])
    call('HDEL', T, leases[i])
    if score and (not fifo or tonumber(score) > now) then call('ZADD', Q, text(now), leases[i]) end -- see settle.lua
  end
end
call('HDEL', P, token)
call('HDEL', H, token)
local _, holder = parse_lease(call('GET', L))
if holder == token then
  call('DEL', L)
  wake(S)
end
if call('ZCARD', Q) > 0 then wake(W) end
return 1
