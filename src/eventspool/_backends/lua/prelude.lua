-- Put before every script: the names of the keys, the clock, and how values are written and read.
-- A stored value that is not what we wrote reads as zero or empty; no script may fail because of one.
local D, N, Q, T, O, F, I, M, W, S, L, P, H = unpack(KEYS)
local call = redis.call

local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]

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

-- Of all time, for rates: "accepted", "delivered" and "buried" events.
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

-- Many jobs committed in one microsecond run ahead of the clock by as many; they are due all the same.
-- `last` far ahead means that the server's clock was set back.
local last = total('last')
local due = now
if last > now and last - now < 1000000 then due = last end

local function wake(list)
  if call('LLEN', list) == 0 then redis.pcall('RPUSH', list, '1') end
end
