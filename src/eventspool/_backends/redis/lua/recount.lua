-- Make sizes and totals true again from the indices. This runs only after damage, and takes about a second per million jobs.
begin()
local function measure(id)
  local size = '0:' .. text(call('HSTRLEN', PAYLOADS, id))
  call('HSET', SIZES, id, size)
  return size
end

local function count(key)
  local events, bytes = 0, 0
  for from = 0, call('ZCARD', key) - 1, MAX_IDS do
    local e, b = add_up(call('ZRANGE', key, from, from + MAX_IDS - 1), measure)
    events, bytes = events + e, bytes + b
  end
  return events, bytes
end

local events, bytes = count(ORDER)
local failed_events, failed_bytes = count(FAILED)
call('HSET', META, 'events', events + failed_events, 'bytes', bytes + failed_bytes + (is_sealed() and SEALED_BYTES or 0),
  'failed_events', failed_events, 'failed_bytes', failed_bytes)

if call('HLEN', SIZES) ~= call('ZCARD', ORDER) + call('ZCARD', FAILED) then
  local cursor = '0'
  repeat
    local page = call('HSCAN', SIZES, cursor, 'COUNT', MAX_IDS)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      local id = page[2][i]
      if not call('ZSCORE', ORDER, id) and not call('ZSCORE', FAILED, id) then call('HDEL', SIZES, id) end
    end
  until cursor == '0'
end
return 1
