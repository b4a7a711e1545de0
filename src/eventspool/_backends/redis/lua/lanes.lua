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
local more_jobs, more_entries = 0, 0
local lanes_of, stand_of, enter, withdraw

-- Where the queue keeps another order these functions are not made, since that would take each call some microseconds. A process
-- that begins to keep the order per user says so by the first or, to claim_lanes.lua, the twelfth argument.
if laned or ARGV[1] == 'per_user' or ARGV[12] == 'per_user' then
  -- The lanes that a job touches, as a list of digits: its id ends with them as four digits of bits. See lanes_of in _job.py.
  local known = {} -- by how the id ends
  function lanes_of(id)
    local ending = #id == 33 and string.sub(id, 29) or ''
    if known[ending] then return known[ending] end
    local digits = string.match(ending, '^%-(%x%x%x%x)$')
    local bits = digits and tonumber(digits, 16) or 0
    if bits == 0 or bits == 65535 then return {ALL} end
    local lanes, at = {}, 1
    known[ending] = lanes
    repeat
      if bits % 16 == 0 then
        bits, at = bits / 16, at + 4
      else
        local bit = bits % 2
        if bit == 1 then lanes[#lanes + 1] = string.sub(DIGITS, at, at) end
        bits, at = (bits - bit) / 2, at + 1
      end
    until bits == 0
    return lanes
  end

  -- In two halves, of which both are small: Lua writes such numbers three times as fast as one of 16 digits.
  function stand_of(id, place) return string.format('%010d%06d', math.floor(place / SECOND), place % SECOND) .. id end

  local function count_entries(entries, sign)
    if entries > 0 then more_jobs, more_entries = more_jobs + sign, more_entries + sign * entries end
  end

  -- Put a job into the index.
  function enter(id, place)
    local stand, lanes, entries = stand_of(id, place), lanes_of(id), {}
    for at, lane in ipairs(lanes) do
      entries[2 * at - 1], entries[2 * at] = 0, lane .. stand
    end
    count_entries(call('ZADD', LANES, unpack(entries)), 1)
  end

  -- Take a job out of it.
  function withdraw(id, place)
    local stand, lanes, entries = stand_of(id, place), lanes_of(id), {}
    for at, lane in ipairs(lanes) do entries[at] = lane .. stand end
    count_entries(call('ZREM', LANES, unpack(entries)), -1)
  end
end

local function id_of(stand) return string.sub(stand, PLACE_DIGITS + 1) end
local function place_of(stand) return tonumber(string.sub(stand, 1, PLACE_DIGITS)) end

-- Whether the index has each unfinished job, as far as numbers tell.
local function is_index_whole()
  local jobs, entries = parse_size(meta_lanes)
  return not meta_index_from and jobs == call('ZCARD', ORDER) and entries == call('ZCARD', LANES)
end

-- How many jobs and entries the index has now: the field and the value that are to be written, or nothing where that is as before.
-- Every script that enters or withdraws a job writes these at its end, with whatever else it writes into META.
local function changed_lanes()
  if more_jobs == 0 and more_entries == 0 then return end
  local jobs, entries = parse_size(meta_lanes)
  meta_lanes = text(math.max(jobs + more_jobs, 0)) .. ':' .. text(math.max(entries + more_entries, 0))
  more_jobs, more_entries = 0, 0
  return 'lanes', meta_lanes
end
