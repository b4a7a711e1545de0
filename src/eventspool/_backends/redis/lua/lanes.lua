-- The index of lanes, by which a queue that keeps the order per user finds the first job of each lane, however many lie behind it.
-- Where one process of a queue keeps the order per user, all do. The fields of META that say so:
--   "per_user"     when a processor or a producer last asked for it. While the field is there, every script keeps the index
--   "lanes"        "jobs:entries": how many of both the index has. Where ORDER or LANES have others, the index is built anew
--   "index_from"   where a build of the index that has begun goes on
--   "halted"       whether an operator has paused the queue. For "paused" is always 1 then: processes of older versions, which
--                  know nothing of lanes, find the queue paused, say so, and overtake nobody. For the same reason "fifo" is 1:
--                  to an operator of an older version, jobs keep their places
-- LANES is a ZSET of which all scores are 0. Of an unfinished job it has an entry for each lane that the job touches: the lane's
-- digit, the job's place in 16 digits, and its id. What follows the lane is called the job's stand: of two jobs, the one whose
-- stand is less comes first. A job that touches all lanes has one entry, in a lane of its own, because many such jobs are common.
local ALL, DIGITS, PLACE_DIGITS = 'g', '0123456789abcdef', 16
local KEPT_FOR, NOTED_EVERY = 60 * SECOND, 10 * SECOND
local more_jobs, more_entries = 0, 0
local lanes_of, stand_of, id_of, enter, withdraw, note_lanes, is_index_whole

-- Make the functions below. Where the queue keeps another order they are not made: that would take each call some microseconds.
local function load_lanes()
  -- The lanes that a job touches, one digit for each: its id ends with them as four digits of bits. See lanes_of in _job.py.
  function lanes_of(id)
    local digits = #id == 33 and string.match(id, '^%-(%x%x%x%x)$', 29)
    local bits = digits and tonumber(digits, 16) or 0
    if bits == 0 or bits == 65535 then return ALL end
    local lanes, at = '', 1
    repeat
      local bit = bits % 2
      if bit == 1 then lanes = lanes .. string.sub(DIGITS, at, at) end
      bits, at = (bits - bit) / 2, at + 1
    until bits == 0
    return lanes
  end

  function stand_of(id, place) return string.format('%016.0f', place) .. id end
  function id_of(stand) return string.sub(stand, PLACE_DIGITS + 1) end

  local function count_entries(entries, sign)
    if entries > 0 then more_jobs, more_entries = more_jobs + sign, more_entries + sign * entries end
  end

  -- Put a job into the index.
  function enter(id, place)
    local stand, lanes, entries = stand_of(id, place), lanes_of(id), {}
    for at = 1, #lanes do
      entries[2 * at - 1], entries[2 * at] = 0, string.sub(lanes, at, at) .. stand
    end
    count_entries(call('ZADD', LANES, unpack(entries)), 1)
  end

  -- Take a job out of it.
  function withdraw(id, place)
    local stand, lanes, entries = stand_of(id, place), lanes_of(id), {}
    for at = 1, #lanes do entries[at] = string.sub(lanes, at, at) .. stand end
    count_entries(call('ZREM', LANES, unpack(entries)), -1)
  end

  -- Write down how many have been entered and withdrawn. Every script that does either calls this at its end.
  function note_lanes()
    if more_jobs == 0 and more_entries == 0 then return end
    local jobs, entries = parse_size(call('HGET', META, 'lanes'))
    call('HSET', META, 'lanes', text(math.max(jobs + more_jobs, 0)) .. ':' .. text(math.max(entries + more_entries, 0)))
    more_jobs, more_entries = 0, 0
  end

  -- Whether the index has each unfinished job, as far as numbers tell.
  function is_index_whole()
    local kept = call('HMGET', META, 'lanes', 'index_from')
    local jobs, entries = parse_size(kept[1])
    return not kept[2] and jobs == call('ZCARD', ORDER) and entries == call('ZCARD', LANES)
  end
end
if laned then load_lanes() end

-- Keep the order per user from now on: for a minute, and for as long as a process asks for it.
local function keep_lanes()
  if not laned then
    laned = true
    load_lanes()
    call('DEL', LANES)
    call('HDEL', META, 'index_from')
    call('HSET', META, 'per_user', text(now), 'lanes', '0:0', 'fifo', '1', 'halted', call('HGET', META, 'paused') or '0',
      'paused', '1')
  elseif math.abs(now - number(clock_and_lanes[2])) > NOTED_EVERY then
    call('HSET', META, 'per_user', text(now), 'paused', '1')
  end
end

-- Give up the order per user where no process has asked for it of late. Return whether it is given up.
local function give_up_lanes(fifo)
  if math.abs(now - number(clock_and_lanes[2])) < KEPT_FOR then return false end
  laned = false
  call('DEL', LANES)
  call('HSET', META, 'fifo', fifo, 'paused', call('HGET', META, 'halted') or '0')
  call('HDEL', META, 'per_user', 'lanes', 'index_from', 'halted')
  return true
end
