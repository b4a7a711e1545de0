-- Index jobs that failed in another queue, and whose payloads the same transaction has stored.
-- ARGV: ordering, max_jobs, max_bytes, token, told, (id, events, attempts, failed_us, cause)...
-- -> the reply of committing.lua
-- `cause` is a JSON object without its closing brace, as for settle.lua. Failed jobs have no place in the order.
for i = 6, #ARGV, 5 do
  local id, events, attempts, failed_us, cause = unpack(ARGV, i, i + 4)
  local size = admit(id, events, false)
  if size then
    call('ZADD', FAILED, number(failed_us) + skew, id)
    count_reason(cause .. '}', 1, number(events), size)
    call('HSET', CAUSES, id, cause .. ',"events":' .. events .. ',"attempts":' .. attempts .. '}')
  end
end

if accepted > 0 then
  add_totals(new_events, new_bytes, new_events, new_bytes, tally('accepted', new_events))
end
return reply_to_commit()
