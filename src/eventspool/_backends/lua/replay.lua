-- Move failed jobs to the end of the queue, as new.
-- ARGV: fifo, id...   -> how many
begin()
local moved, events, bytes, last = 0, 0, 0, last_place(ARGV[1] == '1')
for i = 2, #ARGV do
  local id = ARGV[i]
  if call('ZREM', F, id) == 1 then
    local e, b = size_of(id)
    events, bytes, moved = events + e, bytes + b, moved + 1
    count_reason(call('HGET', I, id), -1, -e, -b)
    call('HDEL', I, id)
    call('HDEL', O, id)
    call('HDEL', T, id)
    last = math.max(now, last + 1)
    call('ZADD', Q, text(last), id)
  end
end
if moved > 0 then
  call('HSET', M, 'last', text(last))
  add_totals(0, 0, -events, -bytes)
  wake(W)
end
return moved
