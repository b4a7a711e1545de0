-- Put before every script: the names of the keys, the clock, and how values are written and read.
-- A stored value that is not what we wrote reads as zero or empty; no script may fail because of one.
local D, N, Q, T, O, F, I, M, W, S, L, P, H, X = unpack(KEYS)
local call = redis.call

-- Lua's own conversion keeps 14 digits; microseconds have 16.
local function text(number) return string.format('%.0f', number) end

local function number(digits)
  if digits and #digits <= 16 then return tonumber(digits) or 0 end
  return 0
end

-- T: "until:token". Without a token the job is only held back (FIFO), with one it is leased.
local function parse_lease(value)
  local till, token = string.match(value or '', '^(%d+):(.*)$')
  return number(till), token or ''
end

-- O: "attempts:progress".
local function parse_tries(value)
  local attempts, progress = string.match(value or '', '^(%d+):(.*)$')
  return number(attempts), progress or ''
end

-- N: "events:bytes".
local function parse_size(value)
  local events, bytes = string.match(value or '', '^(%d+):(%d+)$')
  return number(events), number(bytes)
end

local function lease_of(id) return parse_lease(call('HGET', T, id)) end
local function size_of(id) return parse_size(call('HGET', N, id)) end

local function total(field)
  local value = tonumber(call('HGET', M, field) or '') or 0
  if value >= 0 and value < 9e15 then return value end
  return 0
end

-- The queue's own time, in microseconds. It goes on after the server's clock was set back, or another server whose clock is
-- behind has taken over: else what is stored would lie in the future for as long.
-- M, "clock": "noted:skew", the time last noted and how far it is ahead of the server's.
local COARSE = 100000
local noted, skew = parse_size(call('HGET', M, 'clock'))
if noted == 0 then noted = total('last') end -- only older processes were here
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2] + skew

local function note() redis.pcall('HSET', M, 'clock', text(now) .. ':' .. text(skew)) end

if now < noted then
  if noted - now > COARSE then skew = skew + noted - now end
  now = noted
  -- At once, by those that only look, too: else time would stand still on an idle queue. Where nothing may be written it does,
  -- and no look fails for that.
  redis.pcall('HDEL', M, '')
  note()
end

-- How a script begins that writes: memory limits do not refuse this deletion, which lets the rest run when Redis is full.
-- It notes the time, too: else what it puts back would not be due after a step back. The most frequent ones note it only every
-- tenth of a second, and so save a write: what they store is late by no more.
local function begin(grain)
  call('HDEL', M, '')
  if now - noted > (grain or 0) then note() end
end

-- The place behind which the next job goes. Older processes give out places far ahead of a clock that was set back; behind them
-- a job would not be due for as long, and only FIFO needs the order that much.
local function last_place(fifo)
  local last = total('last')
  if not fifo and last - now > COARSE then return now end
  return last
end

-- L: "until:token". The server's own expiry goes by its clock, and would outlast the holder by as much as that was set back.
-- Older processes write their token alone, and see in ours that somebody else has the queue.
local function hold(token, ms) call('SET', L, text(now + ms * 1000) .. ':' .. token, 'PX', ms) end

local function queue_holder()
  local value = call('GET', L)
  if not value then return nil end
  local till, token = parse_lease(value)
  if token == '' then return value, now + math.max(call('PTTL', L), 1) * 1000 end
  if till > now then return token, till end
end

-- Totals are set, not incremented: a damaged one cannot make us fail, and an empty queue puts them right.
local function add_totals(events, bytes, failed_events, failed_bytes)
  local empty = call('ZCARD', F) == 0
  local failed = {0, 0}
  if not empty then failed = {total('failed_events') + failed_events, total('failed_bytes') + failed_bytes} end
  local all = {0, 0}
  if not empty or call('ZCARD', Q) > 0 then all = {total('events') + events, total('bytes') + bytes} end
  call('HSET', M, 'events', text(math.max(all[1], 0)), 'bytes', text(math.max(all[2], 0)),
    'failed_events', text(math.max(failed[1], 0)), 'failed_bytes', text(math.max(failed[2], 0)))
end

-- Of all time, for rates: "accepted", "delivered", "buried" and "purged" events.
local function tally(field, events)
  if events > 0 then call('HSET', M, field, text(total(field) + events)) end
end

local function reason_of(info)
  local reason = string.match(info or '', '^{"reason": "([%w_]+)"') -- as we write it; decoding takes longer
  if reason then return reason end
  local sound, decoded = pcall(cjson.decode, info or '')
  reason = sound and type(decoded) == 'table' and decoded.reason
  return type(reason) == 'string' and reason or 'unknown'
end

-- M, "r:<reason>": "jobs:events:bytes" of the failed jobs with that reason.
local function parse_depth(value)
  local jobs, events, bytes = string.match(value or '', '^(%d+):(%d+):(%d+)$')
  return number(jobs), number(events), number(bytes)
end

local function count_reason(info, jobs, events, bytes)
  local field = 'r:' .. reason_of(info)
  local j, e, b = parse_depth(call('HGET', M, field))
  if j + jobs > 0 then
    call('HSET', M, field, text(j + jobs) .. ':' .. text(math.max(e + events, 0)) .. ':' .. text(math.max(b + bytes, 0)))
  else
    call('HDEL', M, field)
  end
end

local function is_paused() return call('HGET', M, 'paused') == '1' end

local function wake(list)
  if call('LLEN', list) == 0 then redis.pcall('RPUSH', list, '1') end
end
