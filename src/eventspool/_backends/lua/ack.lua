-- Forget jobs, whoever holds them, failed ones too.
-- ARGV: id...   -> how many were stored
begin(COARSE)
local events, bytes, failed_events, failed_bytes, stored = 0, 0, 0, 0, 0
for _, id in ipairs(ARGV) do
  local waiting = call('ZREM', Q, id) == 1
  local failed = call('ZREM', F, id) == 1
  if waiting or failed then
    local e, b = size_of(id)
    stored, events, bytes = stored + 1, events + e, bytes + b
    if failed then
      failed_events, failed_bytes = failed_events + e, failed_bytes + b
      count_reason(call('HGET', I, id), -1, -e, -b)
    end
  end
end
if #ARGV > 0 then
  for _, key in ipairs({D, N, T, O, I}) do call('HDEL', key, unpack(ARGV)) end
end
if stored > 0 then
  add_totals(-events, -bytes, -failed_events, -failed_bytes)
  tally('delivered', events)
end
return stored
