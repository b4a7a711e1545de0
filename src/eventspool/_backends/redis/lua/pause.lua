-- Stop or resume handing out jobs.
-- ARGV: paused
begin()
if ARGV[1] == '1' then
  call('HSET', META, 'paused', '1')
else
  call('HDEL', META, 'paused')
  wake(WAKE)
end
return 1
