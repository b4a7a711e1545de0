-- Since when, and for how long, a queue keeps the order per user.
local KEPT_FOR, NOTED_EVERY = 60 * SECOND, 10 * SECOND

-- Keep the order per user from now on: for a minute, and for as long as a process asks for it.
local function keep_lanes()
  if not laned then
    laned, meta_lanes = true, '0:0'
    call('DEL', LANES)
    call('HDEL', META, 'index_from')
    call('HSET', META, 'per_user', now, 'lanes', meta_lanes, 'fifo', '1', 'halted', call('HGET', META, 'paused') or '0',
      'paused', '1')
  elseif math.abs(now - number(meta_per_user)) > NOTED_EVERY then
    call('HSET', META, 'per_user', now, 'paused', '1')
  end
end

-- Give up the order per user where no process has asked for it of late. Return whether it is given up.
local function give_up_lanes(fifo)
  if math.abs(now - number(meta_per_user)) < KEPT_FOR then return false end
  laned = false
  call('DEL', LANES)
  call('HSET', META, 'fifo', fifo, 'paused', call('HGET', META, 'halted') or '0')
  call('HDEL', META, 'per_user', 'lanes', 'index_from', 'halted')
  return true
end
