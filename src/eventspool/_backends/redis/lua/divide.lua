-- Write down how the queue is divided, where it is divided as the caller believes.
-- ARGV: what is written there now ("" for nothing), what is to be written, 1 where this is for a queue that was never used:
-- then this partition is sealed in the same step
-- -> what is written there afterwards
begin()
local stored = call('HGET', META, 'ring') or ''
if stored ~= ARGV[1] then return stored end
if ARGV[3] == '1' then
  if call('HEXISTS', META, 'epoch') == 1 or call('ZCARD', ORDER) + call('ZCARD', FAILED) > 0 then return stored end
  seal()
end
call('HSET', META, 'ring', ARGV[2])
return ARGV[2]
