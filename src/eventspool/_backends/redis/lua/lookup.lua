-- Say what became of jobs.
-- ARGV: epoch or "", token, told, id...   -> {the reply of find_rewound, and for each id one of these}:
--   DELIVERED, or LOST where the queue is not the one that had this epoch: it is not stored and no fate of it is remembered
--   PURGED, MOVED: it is not stored, and that is why. {PURGED, positions} where only the events at these positions were erased
--   UNFINISHED
--   why it failed, as JSON ("" where that is damaged). {why, positions} where the events at these positions were erased before
local UNFINISHED, DELIVERED, LOST, PURGED, MOVED = 1, 0, -1, -2, -3
local absent = DELIVERED
if ARGV[1] ~= '' and call('HGET', META, 'epoch') ~= ARGV[1] then absent = LOST end
local reply, is_any_gone = {text(find_rewound(ARGV[2], tonumber(ARGV[3])))}, call('ZCARD', GONE) > 0
for i = 2, #ARGV - 2 do
  local id = ARGV[i + 2]
  local gone = is_any_gone and call('ZSCORE', GONE, id)
  local fate = gone and call('HGET', FATES, id)
  if call('ZSCORE', ORDER, id) then
    reply[i] = UNFINISHED
  elseif call('ZSCORE', FAILED, id) then
    reply[i] = call('HGET', CAUSES, id) or ''
    if fate and fate ~= 'moved' then reply[i] = {reply[i], fate} end
  elseif not gone then
    reply[i] = absent
  elseif not fate then
    reply[i] = PURGED
  else
    reply[i] = fate == 'moved' and MOVED or {PURGED, fate}
  end
end
return reply
