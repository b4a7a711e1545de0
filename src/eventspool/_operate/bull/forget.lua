-- Delete jobs that are stored elsewhere, as Bull does when a job is removed. One that is not held any more is left alone.
-- ARGV: what the keys begin with, (id, its score since it is held)...   -> the ids that were deleted
local deleted = {}
for i = 2, #ARGV, 2 do
  local id, score = ARGV[i], ARGV[i + 1]
  local is_ours
  if score == '' then
    is_ours = redis.call('ZREM', FAILED, id) == 1
  else
    is_ours = tonumber(redis.call('ZSCORE', DELAYED, id) or 0) == tonumber(score)
    if is_ours then redis.call('ZREM', DELAYED, id) end
  end
  if is_ours then
    redis.call('DEL', ARGV[1] .. id, ARGV[1] .. id .. ':logs')
    deleted[#deleted + 1] = id
  end
end
return deleted
