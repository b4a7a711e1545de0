-- The lease of a FIFO queue as a whole: one processor at a time has it.
-- It is stored twice as "until:token". The field "holder" is the one that counts: a server that evicts keys that expire
-- (volatile-…) may drop LEGACY_HOLDER, and that key expires by the server's clock, which may have been set back. Processes of
-- older versions look at LEGACY_HOLDER alone. The oldest of them write their bare token into it, and see in our value that
-- another process has the queue. So LEGACY_HOLDER is read first: where it names another process, that is a process of an older
-- version which has taken the queue over.
local LONGEST_LEASE = 6 * QUEUE_LEASE -- A lease that ends later is damaged, and would hardly ever end.

local function hold(token, ms)
  local value = lease(text(now + ms * 1000), token)
  call('HSET', META, 'holder', value)
  call('SET', LEGACY_HOLDER, value, 'PX', ms)
end

-- The token that has the queue, and until when; nothing where no processor has it.
local function queue_holder()
  local value = call('GET', LEGACY_HOLDER)
  local till, token = parse_lease(value)
  if value and token == '' then return value, now + math.max(call('PTTL', LEGACY_HOLDER), 1) * 1000 end
  if till <= now then till, token = parse_lease(call('HGET', META, 'holder')) end
  if token ~= '' and till > now and till - now < LONGEST_LEASE then return token, till end
end

-- The token that has the queue where it is FIFO, and whether that is another one than `token`.
local function find_usurper(fifo, token)
  local holder = fifo and queue_holder()
  return holder, holder and holder ~= token
end

-- Give the queue back where `token` has it, and say whether it had.
local function release_queue(token)
  local held = false
  local _, holder = parse_lease(call('GET', LEGACY_HOLDER))
  if holder == token then held = call('DEL', LEGACY_HOLDER) == 1 end
  _, holder = parse_lease(call('HGET', META, 'holder'))
  if holder == token then held = call('HDEL', META, 'holder') == 1 or held end
  return held
end
