-- End leases other than by delivery, each only while `token` still holds it.
-- ARGV: fifo, token, (id, kind, delay_us, progress, info, events, payload)...   -> {1 or 0, ...}
-- `info` is a JSON object without its closing brace. A payload is given only where a failed job shrank, which is rare:
-- passing it through here is what makes replacing it atomic, fenced, and possible when Redis is full.
begin()
local fifo, token = ARGV[1] == '1', ARGV[2]
local holder = fifo and queue_holder()
local usurped = holder and holder ~= token
local reply, put_back = {}, false
local events, bytes, failed_events, failed_bytes = 0, 0, 0, 0

local function fail(id, attempts, info, new_events, payload)
  local e, b = size_of(id)
  events, bytes = events - e, bytes - b
  if payload ~= '' then
    call('HSET', D, id, payload)
  else
    call('HSETNX', D, id, '') -- a missing payload gets a stand-in, so that D and the indices stay equally long
  end
  if payload ~= '' or e == 0 then e = number(new_events) end
  b = call('HSTRLEN', D, id)
  call('HSET', N, id, text(e) .. ':' .. text(b))
  events, bytes = events + e, bytes + b
  failed_events, failed_bytes = failed_events + e, failed_bytes + b
  count_reason(info .. '}', 1, e, b)
  call('ZREM', Q, id)
  call('HDEL', T, id)
  call('HDEL', O, id)
  call('ZADD', F, text(now), id)
  call('HSET', I, id, info .. ',"events":' .. text(e) .. ',"attempts":' .. text(attempts) .. '}')
end

for i = 3, #ARGV, 7 do
  local id, kind, delay, progress = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local _, owner = lease_of(id)
  local score = call('ZSCORE', Q, id)
  if usurped or owner ~= token or not score then
    reply[#reply + 1] = 0
  else
    local attempts = parse_tries(call('HGET', O, id))
    if kind ~= 'release' then attempts = attempts + 1 end
    if kind == 'fail' then
      fail(id, attempts, ARGV[i + 4], ARGV[i + 5], ARGV[i + 6])
    else
      put_back = true
      if attempts > 0 or progress ~= '' then
        call('HSET', O, id, text(attempts) .. ':' .. progress)
      else
        call('HDEL', O, id)
      end
      if fifo and delay > 0 then
        call('HSET', T, id, text(now + delay) .. ':')
      else
        call('HDEL', T, id)
      end
      -- In FIFO the score stays, but for one that a processor of the other mode has moved.
      if not fifo or tonumber(score) > now then call('ZADD', Q, text(now + delay), id) end
    end
    reply[#reply + 1] = 1
  end
end

if bytes ~= 0 or events ~= 0 or failed_bytes ~= 0 or failed_events ~= 0 then
  add_totals(events, bytes, failed_events, failed_bytes)
end
tally('buried', failed_events)
tally('delivered', -events) -- of a batch that shrank, the rest
if put_back then wake(W) end
return reply
