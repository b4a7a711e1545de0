-- Make sizes and totals true again from the indices. Runs only after damage; takes about a second per million jobs.
begin()
local function count(key)
  local events, bytes = 0, 0
  for from = 0, call('ZCARD', key) - 1, 1000 do
    local ids = call('ZRANGE', key, from, from + 999)
    for i, value in ipairs(call('HMGET', N, unpack(ids))) do
      if not value then
        value = '0:' .. text(call('HSTRLEN', D, ids[i]))
        call('HSET', N, ids[i], value)
      end
      local e, b = parse_size(value)
      events, bytes = events + e, bytes + b
    end
  end
  return events, bytes
end

local events, bytes = count(Q)
local failed_events, failed_bytes = count(F)
call('HSET', M, 'events', text(events + failed_events), 'bytes', text(bytes + failed_bytes),
  'failed_events', text(failed_events), 'failed_bytes', text(failed_bytes))

if call('HLEN', N) ~= call('ZCARD', Q) + call('ZCARD', F) then
  local cursor = '0'
  repeat
    local page = call('HSCAN', N, cursor, 'COUNT', 1000)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      local id = page[2][i]
      if not call('ZSCORE', Q, id) and not call('ZSCORE', F, id) then call('HDEL', N, id) end
    end
  until cursor == '0'
end
return 1
