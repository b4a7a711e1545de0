-- Are the payloads and the indices equally long? -> {payloads and indices agree, sizes and totals agree}
local indexed = call('ZCARD', Q) + call('ZCARD', F)
local sane = call('HLEN', N) == indexed
if indexed > 0 then
  for _, field in ipairs({'events', 'bytes', 'failed_events', 'failed_bytes'}) do
    if not string.match(call('HGET', M, field) or '', '^%d+$') then sane = false end
  end
end
return {call('HLEN', D) == indexed and 1 or 0, sane and 1 or 0}
