-- End a hold. The jobs are the next ones again, in the order in which they are named.
-- ARGV: (id, its score before it was held, and since)...
local waiting = redis.call('EXISTS', META_PAUSED) == 1 and LISTS.paused or LISTS.waiting
for i = #ARGV - 2, 1, -3 do
  local id, before, score = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if score ~= '' and tonumber(redis.call('ZSCORE', DELAYED, id) or 0) == tonumber(score) then
    if before ~= '' then
      redis.call('ZADD', DELAYED, before, id)
    else
      redis.call('ZREM', DELAYED, id)
      redis.call('RPUSH', waiting, id)
    end
  end
end
return 1
