-- Lease jobs, each where no earlier unfinished job shares a lane with it; any number of processors do so at once. Scores are
-- places in the order, and no times. A job that is leased, or waits for its retry, holds up what comes behind it in its lanes.
-- ARGV and the reply as in claiming.lua. Besides ARGV: chain, chain_bytes (-1: any), ordering. HELD_UP in the role: jobs are held up
-- by others, so that it is worth while to claim again when one of those ends.
-- `chain` is how many jobs that hold up one another may be leased together: they follow each other in the reply, and their
-- processor sends them in that order in one request.

if ARGV[12] == 'per_user' then keep_lanes() elseif not laned then return {0, 0} end
if not (is_index_whole and is_index_whole()) then return {UNINDEXED, 0} end -- Nil where this very call has begun to keep it.
if held then admit() end
local chain, chain_bytes = probe and 1 or tonumber(ARGV[10]), tonumber(ARGV[11])

local CLOSED = '' -- Stands in the place of the first job of a lane of which no more may be leased. It is less than any stand.
local lanes, heads, lines, stands, is_listed = {}, {}, {}, {}, {}
local from, wait, is_damaged = '-', nil, false
repeat
  local entry = call('ZRANGE', LANES, from, '+', 'BYLEX', 'LIMIT', 0, 1)[1]
  if entry then
    local lane, stand = string.sub(entry, 1, 1), string.sub(entry, 2)
    lanes[#lanes + 1], heads[lane] = lane, stand
    if not is_listed[stand] then stands[#stands + 1], is_listed[stand] = stand, true end
    from = '(' .. lane .. '~'
  end
until not entry
table.sort(stands)
local leases = {} -- of the first jobs, by their stands
if #stands > 0 then
  local ids = {}
  for i, stand in ipairs(stands) do ids[i] = id_of(stand) end
  for i, value in ipairs(call('HMGET', LEASES, unpack(ids))) do leases[stands[i]] = value or '' end
end

-- Whether a job is the first one in each lane that it touches.
local function is_first(stand, touched)
  if touched == ALL then
    for _, lane in ipairs(lanes) do
      if heads[lane] and heads[lane] < stand then return false end
    end
    return heads[ALL] == stand
  end
  for at = 1, #touched do
    if heads[string.sub(touched, at, at)] ~= stand then return false end
  end
  return not heads[ALL] or heads[ALL] > stand
end

-- Put the next job of a lane in the place of its first one.
local function advance(lane)
  local line = lines[lane]
  if not line or line.at == #line.entries then
    local page = call('ZRANGE', LANES, '(' .. lane .. heads[lane], '(' .. lane .. '~', 'BYLEX', 'LIMIT', 0, math.min(chain, 64))
    line = {entries = page, at = 0}
    lines[lane] = line
  end
  line.at = line.at + 1
  local entry = line.entries[line.at]
  heads[lane] = entry and string.sub(entry, 2)
end

-- Offer a job that is not held up by any other one; return whether it may be leased now.
local function take(stand)
  local id = id_of(stand)
  local held_till, owner, was_idle = parse_lease(leases[stand] or call('HGET', LEASES, id))
  if held_till > now then
    wait = math.min(wait or held_till - now, held_till - now)
    return false
  end
  local place = call('ZSCORE', ORDER, id)
  if not place or stand_of(id, tonumber(place)) ~= stand then -- The queue has it no more, or elsewhere.
    is_damaged = true
    return false
  end
  offer(id, owner, was_idle, call('HGET', TRIES, id), 0)
  return true
end

-- Take the job at `stand`, and behind it those that it holds up. A job that has failed or was begun is sent alone: whether a
-- failure is its own fault shows only then. So it has nothing behind it, and is behind nothing.
local function follow(stand)
  local own, length, bytes, touched = {}, 0, 0, lanes_of(id_of(stand))
  while stand and is_first(stand, touched) and take(stand) do
    local is_alone = found[#found].attempts > 0 or found[#found].progress ~= ''
    if is_alone and length > 0 then
      found[#found] = nil
      break
    end
    length = length + 1
    for _, lane in ipairs(lanes) do
      if touched == ALL or string.find(touched, lane, 1, true) then own[lane] = true end
    end
    if is_alone or length >= chain or #found >= limit then break end
    if chain_bytes >= 0 then
      bytes = bytes + call('HSTRLEN', PAYLOADS, id_of(stand))
      if bytes >= chain_bytes then break end
    end
    for at = 1, #touched do advance(string.sub(touched, at, at)) end
    stand = heads[ALL]
    for lane in pairs(own) do
      if heads[lane] and (not stand or heads[lane] < stand) then stand = heads[lane] end
    end
    if stand then touched = lanes_of(id_of(stand)) end
  end
  if length > 0 then
    for lane in pairs(own) do heads[lane] = CLOSED end
  end
end

for _, stand in ipairs(stands) do
  if #found > limit and not probe then break end
  local held_till = parse_lease(leases[stand])
  if held_till > now then
    wait = math.min(wait or held_till - now, held_till - now)
  else
    follow(stand)
  end
end
if is_damaged then
  call('HSET', META, 'lanes', '')
  return {UNINDEXED, 0}
end

local is_any_found = #found > 0
local reply, is_more_due = lease_found(NO_TIME, true)
if is_more_due then
  if not (probe or is_limited) then wake(WAKE) end -- Other lanes have jobs: another processor may take them.
elseif is_any_found or wait then
  reply[1] = math.min(wait or tonumber(ARGV[3]), is_any_found and tonumber(ARGV[3]) or wait)
end
if #stands > #found or call('ZCARD', LANES) > #lanes then reply[2] = reply[2] + HELD_UP end
return reply
