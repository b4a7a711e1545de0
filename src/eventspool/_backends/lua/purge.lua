-- Delete those of the jobs that are in one state; a leased job is in none of them. Remember the last ones by their ids.
-- ARGV: fifo, state, kept, kept_us, id...   -> how many
begin()
local fifo, wanted = ARGV[1] == '1', ARGV[2]
local events, bytes, failed_events, failed_bytes, purged = 0, 0, 0, 0, 0
for i = 5, #ARGV do
  local id = ARGV[i]
  local state = call('ZSCORE', F, id) and 'failed' or nil
  local score = call('ZSCORE', Q, id)
  if score then
    local till, owner = lease_of(id)
    if till > now then
      state = owner == '' and 'delayed' or 'leased'
    else
      state = (not fifo and tonumber(score) > now) and 'delayed' or 'waiting'
    end
  end
  if state == wanted then
    local e, b = size_of(id)
    events, bytes, purged = events + e, bytes + b, purged + 1
    if state == 'failed' then
      failed_events, failed_bytes = failed_events + e, failed_bytes + b
      count_reason(call('HGET', I, id), -1, -e, -b)
    end
    call('ZREM', Q, id)
    call('ZREM', F, id)
    for _, key in ipairs({D, N, T, O, I}) do call('HDEL', key, id) end
    call('ZADD', X, text(now), id)
  end
end
if purged > 0 then
  add_totals(-events, -bytes, -failed_events, -failed_bytes)
  tally('purged', events)
  local outdated = call('ZRANGEBYSCORE', X, '-inf', text(now - tonumber(ARGV[4])), 'LIMIT', 0, 1000)
  if #outdated > 0 then call('ZREM', X, unpack(outdated)) end
  local excess = call('ZCARD', X) - tonumber(ARGV[3])
  if excess > 0 then call('ZREM', X, unpack(call('ZRANGE', X, 0, math.min(excess, 1000) - 1))) end
end
return purged
