-- Say whether the queue is sound, as far as numbers tell, in a time that does not grow with it.
-- -> {1 where there is a payload for each job of the indices, 1 where there is a size for each and the totals can be read}
local indexed = call('ZCARD', ORDER) + call('ZCARD', FAILED)
local sane = call('HLEN', SIZES) == indexed
if indexed > 0 then
  for _, field in ipairs({'events', 'bytes', 'failed_events', 'failed_bytes'}) do
    if not string.match(call('HGET', META, field) or '', '^%d+$') then sane = false end
  end
end
return {call('HLEN', PAYLOADS) == indexed and 1 or 0, sane and 1 or 0}
