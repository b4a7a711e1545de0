-- Index jobs whose payloads the same transaction has put into D.
-- ARGV: fifo, max_jobs, max_bytes, (id, events)...   -> {accepted, duplicates, epoch, rejected id...}
local fifo = ARGV[1] == '1'
local max_jobs, max_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
local jobs, bytes = call('ZCARD', Q) + call('ZCARD', F), total('bytes')
local accepted, duplicates, rejected = 0, 0, {}
local new_events, new_bytes, full = 0, 0, false
local last = last_place(fifo)

for i = 4, #ARGV, 2 do
  local id, events = ARGV[i], ARGV[i + 1]
  if call('ZSCORE', Q, id) or call('ZSCORE', F, id) then
    duplicates = duplicates + 1
  else
    local size = call('HSTRLEN', D, id)
    -- Named twice and rejected the first time, it has no payload any more.
    if full or size == 0 or jobs >= max_jobs or bytes + new_bytes + size > max_bytes then
      call('HDEL', D, id)
      rejected[#rejected + 1] = id
      full = fifo -- nothing may overtake a rejected job
    else
      last = math.max(now, last + 1)
      call('ZADD', Q, text(last), id)
      call('HSET', N, id, events .. ':' .. text(size))
      jobs, accepted = jobs + 1, accepted + 1
      new_events, new_bytes = new_events + number(events), new_bytes + size
    end
  end
end

if accepted > 0 then
  call('HSET', M, 'last', text(last), 'fifo', ARGV[1])
  if now - noted > COARSE then note() end
  add_totals(new_events, new_bytes, 0, 0)
  tally('accepted', new_events)
  wake(W)
end

local epoch = call('HGET', M, 'epoch')
if not epoch then
  epoch = text(now)
  call('HSET', M, 'epoch', epoch)
end
return {accepted, duplicates, epoch, unpack(rejected)}
