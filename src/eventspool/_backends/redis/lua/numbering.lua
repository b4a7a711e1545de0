-- How a producer's commits are numbered. history.py says why.
-- COMMITS has the number of each producer's last commit. It is a time in microseconds, so the producers that are idle for long
-- come first, and are forgotten first.

-- Forget the producers that are idle for longest, where there are too many. Note the last number that was forgotten: what a
-- producer was told up to there proves nothing.
local function forget_producers()
  local surplus = call('ZCARD', COMMITS) - PRODUCERS_KEPT
  if surplus < PRODUCERS_SLACK then return end
  local oldest = call('ZRANGE', COMMITS, 0, math.min(surplus, MAX_IDS) - 1, 'WITHSCORES')
  for i = 1, #oldest, 2 do call('ZREM', COMMITS, oldest[i]) end
  call('HSET', META, 'forgotten', text(math.max(total('forgotten'), amount(oldest[#oldest]))))
end

-- Number a commit of the producer `token`, whose last one had the number `told` (0: this is its first one). Return the number, or
-- nil and the number of the last commit that this server knows of: then it has lost those behind that, and nothing is to be
-- stored before the producer knows.
-- It takes one call: what is added to the stored number makes it the new one, if the stored one is what the producer was told. It
-- is higher where the reply to a commit was lost.
local function number_commit(token, told)
  local number = math.max(now, told + 1)
  local found = tonumber(call('ZADD', COMMITS, 'INCR', text(number - told), token))
  if found >= number then
    if told == 0 then forget_producers() end
    return found
  end
  local known = found - (number - told)
  if known > 0 then
    call('ZADD', COMMITS, text(known), token)
  elseif told > total('forgotten') then
    call('ZREM', COMMITS, token)
  else
    call('ZADD', COMMITS, text(number), token)
    forget_producers()
    return number
  end
  return nil, known
end

-- Return the number of the last commit of the producer that this server knows of, where the producer was told a higher one; else -1.
local function find_rewound(token, told)
  local known = amount(call('ZSCORE', COMMITS, token))
  if known >= told or (known == 0 and told <= total('forgotten')) then return -1 end
  return known
end
