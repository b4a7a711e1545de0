-- List the processors that are live.   -> (token, seen_us, note)...
local reply, seen = {}, call('HGETALL', PROCESSORS)
for i = 1, #seen, 2 do
  local token, at = seen[i], seen[i + 1]
  if is_live(at) then
    reply[#reply + 1] = token
    reply[#reply + 1] = text(number(at) - skew)
    reply[#reply + 1] = call('HGET', NOTES, token) or ''
  end
end
return reply
