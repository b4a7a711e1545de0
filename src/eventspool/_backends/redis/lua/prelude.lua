-- Every script begins with the limits that scripts.py writes from Python's own, and then with this file: the names of the
-- keys, the clock, and how values are written and read. What only some scripts share stands in files of its own; scripts.py
-- names them. backend.py says what each key holds. A stored value that is not what we wrote reads as zero or empty: no script
-- may fail for it.
--
-- A server runs all of a script's text in each call, so what is read and written is read and written together:
-- "meta_" before the name of a field of META stands for what that field had before the script: false where it was not there.
-- scripts.py finds these names in a script, and has it read all of their fields at once, before anything else.
local PAYLOADS, SIZES, ORDER, LEASES, TRIES, FAILED, CAUSES, META,
  WAKE, STANDBY_WAKE, LEGACY_HOLDER, PROCESSORS, NOTES, GONE, FATES, LANES, COMMITS, JOURNALS = unpack(KEYS)
local SECOND = 1000000 -- Times are microseconds.
local COARSE = 0.1 * SECOND -- How exactly the most frequent scripts note the time.
local LARGEST = 9e15 -- Beyond it a Lua number is no exact integer any more.
local call = redis.call

-- Lua's own conversion, as `..` has it, keeps 14 digits, and a time in microseconds has 16. A number that is an argument of `call`
-- needs no text: the server writes all digits of it, in a tenth of the time that this takes.
local function text(number) return string.format('%.0f', number) end

local function number(digits)
  if digits and #digits <= 16 then return tonumber(digits) or 0 end
  return 0
end

-- A lease is stored as "until:token". Without a token the job is not leased but held back for its retry (FIFO). A "~" at the
-- end says that its holder does not mean to send the job, so that a lease that runs out costs no attempt.
local function parse_lease(value)
  if not value then return 0, '', false end
  local till, token, mark = string.match(value, '^(%d+):([^~]*)(~?)$')
  return number(till), token or '', mark == '~'
end

local function lease(till, token, idle) return till .. ':' .. token .. (idle and '~' or '') end

-- Tries are stored as "attempts:progress".
local function parse_tries(value)
  if not value then return 0, '' end
  local attempts, progress = string.match(value, '^(%d+):(.*)$')
  return number(attempts), progress or ''
end

-- A size is stored as "events:bytes".
local function parse_size(value)
  local events, bytes = string.match(value or '', '^(%d+):(%d+)$')
  return number(events), number(bytes)
end

local function lease_of(id) return parse_lease(call('HGET', LEASES, id)) end
local function size_of(id) return parse_size(call('HGET', SIZES, id)) end

local function amount(digits)
  local value = tonumber(digits or '') or 0
  if value >= 0 and value < LARGEST then return value end
  return 0
end

local function total(field) return amount(call('HGET', META, field)) end

-- A partition that is sealed takes no new jobs (see sealing.lua): its "bytes" are so much larger than what it holds.
local SEALED_BYTES = 4e15
local function without_seal(bytes) return bytes >= SEALED_BYTES and bytes - SEALED_BYTES or bytes end

-- `now` is the queue's own time. It goes on when the server's clock is set back, or when another server whose clock is behind
-- takes over: otherwise the times that are stored would lie in the future until the clock has caught up.
-- The field "clock" is "noted:skew": the time that a script noted last, and how far it was ahead of the server's clock.
-- The field "per_user" is there while the queue keeps the order per user: see lanes.lua.
local noted, skew = parse_size(meta_clock)
local laned = meta_per_user ~= false
if noted == 0 then noted = total('last') end -- Only processes of older versions have used this queue.
local clock = call('TIME')
local now = clock[1] * SECOND + clock[2] + skew

local function note() redis.pcall('HSET', META, 'clock', text(now) .. ':' .. text(skew)) end

if now < noted then
  if noted - now > COARSE then skew = skew + noted - now end
  now = noted
  -- Scripts that only look note the time, too: otherwise time would stand still on an idle queue. On a server that takes no
  -- writes it does stand still, but looking must not fail for that.
  redis.pcall('HDEL', META, '')
  note()
end

-- Every script that writes, but those that commit, calls this first. Its deletion is allowed when Redis is out of memory, and
-- lets the rest of the script run then. It also notes the time: otherwise a job that this script puts back would not be due
-- after the clock is set back. The most frequent scripts pass COARSE and note the time ten times a second at most, which saves
-- a write: after the clock is set back, what they stored is late by no more than that.
local function begin(grain)
  call('HDEL', META, '')
  if now - noted > (grain or 0) then note() end
end

-- To processes of older versions, which know nothing of lanes, a queue that keeps the order per user always looks paused.
local function is_paused()
  if laned then return meta_halted == '1' end
  return meta_paused == '1'
end

-- Scripts are told by its name in Python which ordering their process keeps. Where one process keeps the order per user, all do.
local function has_one_holder(ordering) return ordering == 'fifo' and not laned end

-- Whether a job keeps its place in the order while it is leased or put off: then scores are places, and no times.
local function keeps_places(ordering) return laned or ordering ~= 'none' end

local function wake(list)
  if call('LLEN', list) == 0 then redis.pcall('RPUSH', list, '1') end
end
