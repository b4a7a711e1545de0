-- Who was seen within the last half minute?   -> (token, seen_us, note)...
local reply, seen = {}, call('HGETALL', P)
for i = 1, #seen, 2 do
  local at = number(seen[i + 1])
  if now - at <= 30000000 then
    reply[#reply + 1] = seen[i]
    reply[#reply + 1] = text(at - skew)
    reply[#reply + 1] = call('HGET', H, seen[i]) or ''
  end
end
return reply
