-- ARGV: id...   -> per id: 0 not stored, 1 unfinished, else what is known of its failure ("" when damaged)
local reply = {}
for i, id in ipairs(ARGV) do
  if call('ZSCORE', Q, id) then
    reply[i] = 1
  elseif call('ZSCORE', F, id) then
    reply[i] = call('HGET', I, id) or ''
  else
    reply[i] = 0
  end
end
return reply
