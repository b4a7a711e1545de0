-- Give back everything that `token` holds, as if it had never claimed it.
-- ARGV: ordering, token
begin()
local placed, token = keeps_places(ARGV[1]), ARGV[2]
local leases = call('HGETALL', LEASES)
for i = 1, #leases, 2 do
  local id = leases[i]
  local _, owner = parse_lease(leases[i + 1])
  if owner == token then
    local score = call('ZSCORE', ORDER, id)
    call('HDEL', LEASES, id)
    if score then put_back(id, score, now, placed) end
  end
end
call('HDEL', PROCESSORS, token)
call('HDEL', NOTES, token)
if release_queue(token) then wake(STANDBY_WAKE) end
if call('ZCARD', ORDER) > 0 then wake(WAKE) end
return 1
