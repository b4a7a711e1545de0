-- Keep jobs from the Node processes for a while: a held job stands among Bull's delayed ones, due when the hold ends. Should the
-- process that holds it die, Bull itself puts it back to the waiting ones then.
-- ARGV: what the keys begin with, milliseconds of the hold, (id, its place)...
-- -> (id, its score among the delayed ones before, and now)... of the jobs that are held; "" for none
local now = redis.call('TIME')
local till = string.format('%.0f', (now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2]) * 4096)
local held = {}
for i = 3, #ARGV, 2 do
  local id, place = ARGV[i], ARGV[i + 1]
  local job = ARGV[1] .. id
  local before, score = '', till
  local found = false
  -- A lock says that a Node process works on the job.
  if redis.call('EXISTS', job) == 1 and redis.call('EXISTS', job .. ':lock') == 0 then
    if place == 'failed' then -- no Node process takes it by itself
      found, score = redis.call('ZSCORE', FAILED, id), ''
    elseif place == 'delayed' then
      before = redis.call('ZSCORE', DELAYED, id)
      found = before
      if before and tonumber(before) > tonumber(till) then score = before end
    else
      found = redis.call('LREM', LISTS[place], -1, id) > 0
    end
  end
  if found then
    if score ~= '' then
      redis.call('ZADD', DELAYED, score, id)
      redis.call('ZREM', PRIORITY, id)
      redis.call('SREM', STALLED, id)
    end
    for _, each in ipairs({id, before, score}) do held[#held + 1] = each end
  end
end
return held
