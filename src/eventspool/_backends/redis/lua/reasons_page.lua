-- Count a page of the failed jobs by reason.
-- ARGV: from, limit   -> (reason, jobs, events, bytes)...
local reply, places = {}, {}
local ids = call('ZRANGE', FAILED, ARGV[1], ARGV[1] + ARGV[2] - 1)
if #ids == 0 then return reply end
local causes, sizes = call('HMGET', CAUSES, unpack(ids)), call('HMGET', SIZES, unpack(ids))
for i = 1, #ids do
  local reason = reason_of(causes[i])
  local place = places[reason]
  if not place then
    place = #reply + 1
    places[reason] = place
    for k, start in ipairs({reason, 0, 0, 0}) do reply[place + k - 1] = start end
  end
  local events, bytes = parse_size(sizes[i])
  reply[place + 1] = reply[place + 1] + 1
  reply[place + 2] = reply[place + 2] + events
  reply[place + 3] = reply[place + 3] + bytes
end
return reply
