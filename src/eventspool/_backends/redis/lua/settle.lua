-- End leases other than by delivery, each only while `token` still holds it.
-- ARGV: ordering, token, (id, kind, delay_us, progress, cause, events, payload)...   -> {1 or 0, ...}
-- `cause` is a JSON object without its closing brace. A payload is given only for a failed job that has become smaller, which
-- is rare. It passes through this script so that it is replaced in the same step, only by the holder, and even when Redis is
-- full.
begin()
local placed, token = keeps_places(ARGV[1]), ARGV[2]
local _, usurped = find_usurper(has_one_holder(ARGV[1]), token)
local reply, is_any_put_back, is_any_failed = {}, false, false
local events, bytes, failed_events, failed_bytes = 0, 0, 0, 0

local function fail(id, attempts, cause, new_events, payload)
  local e, b = size_of(id)
  events, bytes = events - e, bytes - b
  if payload ~= '' then
    call('HSET', PAYLOADS, id, payload)
  else
    call('HSETNX', PAYLOADS, id, '') -- A missing payload gets an empty one: audit.lua expects one for each job.
  end
  if payload ~= '' or e == 0 then e = number(new_events) end
  b = call('HSTRLEN', PAYLOADS, id)
  call('HSET', SIZES, id, text(e) .. ':' .. text(b))
  events, bytes = events + e, bytes + b
  failed_events, failed_bytes = failed_events + e, failed_bytes + b
  count_reason(cause .. '}', 1, e, b)
  if laned then withdraw(id, tonumber(call('ZSCORE', ORDER, id))) end
  call('ZREM', ORDER, id)
  call('HDEL', LEASES, id)
  call('HDEL', TRIES, id)
  call('ZADD', FAILED, now, id)
  call('HSET', CAUSES, id, cause .. ',"events":' .. text(e) .. ',"attempts":' .. text(attempts) .. '}')
end

for i = 3, #ARGV, 7 do
  local id, kind, delay, progress, cause, new_events, payload = unpack(ARGV, i, i + 6)
  local _, owner = lease_of(id)
  local score = call('ZSCORE', ORDER, id)
  if usurped or owner ~= token or not score then
    reply[#reply + 1] = 0
  else
    local attempts = parse_tries(call('HGET', TRIES, id))
    if kind ~= 'release' then attempts = attempts + 1 end
    if kind == 'fail' then
      is_any_failed = true
      fail(id, attempts, cause, new_events, payload)
    else
      is_any_put_back = true
      if attempts > 0 or progress ~= '' then
        call('HSET', TRIES, id, text(attempts) .. ':' .. progress)
      else
        call('HDEL', TRIES, id)
      end
      delay = tonumber(delay)
      if placed and delay > 0 then
        call('HSET', LEASES, id, lease(text(now + delay), ''))
      else
        call('HDEL', LEASES, id)
      end
      put_back(id, score, now + delay, placed)
    end
    reply[#reply + 1] = 1
  end
end

if is_any_failed then
  -- Events that a failed job no longer has were delivered.
  add_totals(events, bytes, failed_events, failed_bytes,
    tally('buried', failed_events, tally('delivered', -events, changed_lanes())))
end
if is_any_put_back then wake(WAKE) end
return reply
