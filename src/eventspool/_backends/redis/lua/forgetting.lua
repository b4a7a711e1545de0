-- How jobs leave the queue, and what it remembers of them.

-- GONE has the jobs that were purged, as a whole or in part, or moved. FATES says what became of those that were not purged as
-- a whole: "moved", or the positions of the events that were erased, as JSON.
local function remember(id, fate)
  call('ZADD', GONE, now, id)
  if fate == '' then call('HDEL', FATES, id) else call('HSET', FATES, id, fate) end
end

local function forget_outdated()
  local outdated = call('ZRANGEBYSCORE', GONE, '-inf', now - PURGED_FOR, 'LIMIT', 0, MAX_IDS)
  local excess = call('ZCARD', GONE) - #outdated - PURGED_KEPT
  if #outdated > 0 then
    call('ZREM', GONE, unpack(outdated))
    call('HDEL', FATES, unpack(outdated))
  end
  if excess > 0 then
    local oldest = call('ZRANGE', GONE, 0, math.min(excess, MAX_IDS) - 1)
    call('ZREM', GONE, unpack(oldest))
    call('HDEL', FATES, unpack(oldest))
  end
end

-- Delete jobs, failed ones too, whichever processor holds them. Their events count as `outcome` of all time. Where a `fate` is
-- given it is remembered. Return how many of the jobs were stored.
local function forget(ids, outcome, fate)
  if #ids == 0 then return 0 end
  local events, bytes, failed_events, failed_bytes, stored = 0, 0, 0, 0, 0
  local has_failed, sizes = call('ZCARD', FAILED) > 0, call('HMGET', SIZES, unpack(ids))
  for i, id in ipairs(ids) do
    local place = laned and call('ZSCORE', ORDER, id)
    if place then withdraw(id, tonumber(place)) end
    local unfinished = call('ZREM', ORDER, id) == 1
    local failed = has_failed and call('ZREM', FAILED, id) == 1
    if unfinished or failed then
      local e, b = parse_size(sizes[i])
      stored, events, bytes = stored + 1, events + e, bytes + b
      if failed then
        failed_events, failed_bytes = failed_events + e, failed_bytes + b
        count_reason(call('HGET', CAUSES, id), -1, -e, -b)
      end
      if fate then remember(id, fate) end
    end
  end
  call('HDEL', PAYLOADS, unpack(ids))
  call('HDEL', SIZES, unpack(ids))
  call('HDEL', LEASES, unpack(ids))
  call('HDEL', TRIES, unpack(ids))
  if has_failed then call('HDEL', CAUSES, unpack(ids)) end
  if stored > 0 then
    add_totals(-events, -bytes, -failed_events, -failed_bytes, tally(outcome, events, changed_lanes()))
  end
  return stored
end
