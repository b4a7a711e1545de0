-- Number a commit. history.py says why. ARGV: ordering, max_jobs, max_bytes, token, told, ...
-- `token` is the producer, and `told` the number of its last commit ('0': this is its first one). Where this server has lost that
-- commit, nothing is stored before the producer knows of it -> {-1, the number of the last one that the server knows of}.
-- COMMITS has the number of each producer's last commit: a time in microseconds, so the lowest are of producers that are idle for
-- longest.
-- This is written out, and not as functions, since to make a function costs a commit more than to call the server once.
local told, known = ARGV[5], call('HGET', COMMITS, ARGV[4])
if known ~= told then
  local last_told, last_known = amount(told), amount(known or nil)
  -- It knows of a higher one where the reply to a commit was lost.
  if last_known < last_told and (last_known > 0 or last_told > total('forgotten')) then return {-1, text(last_known)} end
  told = math.max(last_told, last_known)
  if not known then
    -- A long field makes the server keep them as a table, and not as a list, in which it would search.
    call('HSETNX', COMMITS, '', string.rep('.', 1000))
    if call('HLEN', COMMITS) > PRODUCERS_KEPT + PRODUCERS_SLACK then
      local numbers, fields = {}, call('HGETALL', COMMITS)
      for i = 2, #fields, 2 do numbers[i / 2] = amount(fields[i]) end
      table.sort(numbers)
      local highest = numbers[#numbers - PRODUCERS_KEPT]
      for i = 1, #fields, 2 do
        if fields[i] ~= '' and amount(fields[i + 1]) <= highest then call('HDEL', COMMITS, fields[i]) end
      end
      call('HSET', META, 'forgotten', math.max(total('forgotten'), highest))
    end
  end
end
local commit_number = math.max(now, told + 1)
call('HSET', COMMITS, ARGV[4], commit_number)
