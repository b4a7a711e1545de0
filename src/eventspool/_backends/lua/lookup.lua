-- ARGV: epoch or "", id...   -> per id: 0 not stored, -1 not stored and the epoch is another one, -2 purged, 1 unfinished,
-- else what is known of its failure ("" when damaged)
local gone = 0
if ARGV[1] ~= '' and call('HGET', M, 'epoch') ~= ARGV[1] then gone = -1 end
local reply, is_any_purged = {}, call('ZCARD', X) > 0
for i = 1, #ARGV - 1 do
  local id = ARGV[i + 1]
  if call('ZSCORE', Q, id) then
    reply[i] = 1
  elseif call('ZSCORE', F, id) then
    reply[i] = call('HGET', I, id) or ''
  elseif is_any_purged and call('ZSCORE', X, id) then
    reply[i] = -2
  else
    reply[i] = gone
  end
end
return reply
