-- Stop or resume handing out jobs.
-- ARGV: paused
begin()
if ARGV[1] == '1' then
  call('HSET', M, 'paused', '1')
else
  call('HDEL', M, 'paused')
  wake(W)
end
return 1
