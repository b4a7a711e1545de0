-- Stop or resume handing out jobs.
-- ARGV: paused
begin()
local field = laned and 'halted' or 'paused'
if ARGV[1] == '1' then
  call('HSET', META, field, '1')
else
  call('HDEL', META, field)
  wake(WAKE)
end
return 1
