-- Lease jobs, each where no earlier unfinished job shares a lane with it; any number of processors do so at once. Scores are
-- places in the order, and no times. A job that is leased, or waits for its retry, holds up what comes behind it in its lanes.
-- ARGV and the reply as in claiming.lua. Besides ARGV: chain, chain_bytes (-1: any), ordering. HELD_UP in the role: jobs are held up
-- by others, so that it is worth while to claim again when one of those ends.
-- `chain` is how many jobs that hold up one another may be leased together: they follow each other in the reply, and their
-- processor sends them in that order in one request.

if ARGV[12] == 'per_user' then keep_lanes() elseif not laned then return {0, 0} end
if not is_index_whole() then return {UNINDEXED, 0} end
if held then admit() end
local chain, chain_bytes = probe and 1 or tonumber(ARGV[10]), tonumber(ARGV[11])

local CLOSED = '' -- Stands in the place of the first job of a lane of which no more may be leased. It is less than any stand.
local WIDE_PAGE = 16
local lanes, heads, lines, stands, ids = {}, {}, {}, {}, {}
local wait, is_damaged = nil, false

-- Find the first job of each lane. A page begins with that of the next lane, behind which others of that lane follow. Where these
-- are few the page has the first jobs of further lanes, too; where they are not, pages of one are enough.
do
  local is_listed, from, size = {}, '-', WIDE_PAGE
  repeat
    local page, met = call('ZRANGE', LANES, from, '+', 'BYLEX', 'LIMIT', 0, size), 0
    for _, entry in ipairs(page) do
      local lane = string.sub(entry, 1, 1)
      if not heads[lane] then
        local stand = string.sub(entry, 2)
        lanes[#lanes + 1], heads[lane], met = lane, stand, met + 1
        if not is_listed[stand] then stands[#stands + 1], is_listed[stand] = stand, true end
      end
    end
    if #page == size then from = '(' .. lanes[#lanes] .. '~' end
    local is_over = met == 0 or #page < size
    if met < 2 then size = 1 end
  until is_over
end
table.sort(stands)
local leases, tries = {}, {} -- of the first jobs, by their ids
if #stands > 0 then
  for i, stand in ipairs(stands) do ids[i] = id_of(stand) end
  local values, attempts = call('HMGET', LEASES, unpack(ids)), call('HMGET', TRIES, unpack(ids))
  for i, id in ipairs(ids) do leases[id], tries[id] = values[i], attempts[i] end
end

-- What a hash has of a job: of the first ones it was read before.
local function read(known, key, id)
  if known[id] == nil then return call('HGET', key, id) end
  return known[id]
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

-- Note for how long a job holds up what is behind it.
local function await(till) wait = math.min(wait or till - now, till - now) end

-- Offer a job that is not held up by any other one; return whether it may be leased now.
local function take(stand, id)
  local held_till, owner, was_idle = parse_lease(read(leases, LEASES, id))
  if held_till > now then
    await(held_till)
    return false
  end
  local place = call('ZSCORE', ORDER, id)
  if not place or math.abs(tonumber(place) - place_of(stand)) >= 1 then -- The queue has it no more, or elsewhere.
    is_damaged = true
    return false
  end
  offer(id, owner, was_idle, read(tries, TRIES, id), 0)
  return true
end

-- Take the job at `stand`, and behind it those that it holds up. A job that has failed or was begun is sent alone: whether a
-- failure is its own fault shows only then. So it has nothing behind it, and is behind nothing.
local function follow(stand, id)
  local own, length, bytes, touched = {}, 0, 0, lanes_of(id)
  while stand and is_first(stand, touched) and take(stand, id) do
    local is_alone = found[#found].attempts > 0 or found[#found].progress ~= ''
    if is_alone and length > 0 then
      found[#found] = nil
      break
    end
    length = length + 1
    if touched == ALL then
      for _, lane in ipairs(lanes) do own[lane] = true end
    else
      for at = 1, #touched do own[string.sub(touched, at, at)] = true end
    end
    if is_alone or length >= chain or #found >= limit then break end
    if chain_bytes >= 0 then
      bytes = bytes + call('HSTRLEN', PAYLOADS, id)
      if bytes >= chain_bytes then break end
    end
    for at = 1, #touched do advance(string.sub(touched, at, at)) end
    stand = heads[ALL]
    for lane in pairs(own) do
      if heads[lane] and (not stand or heads[lane] < stand) then stand = heads[lane] end
    end
    if stand then
      id = id_of(stand)
      touched = lanes_of(id)
    end
  end
  if length > 0 then
    for lane in pairs(own) do heads[lane] = CLOSED end
  end
end

for i, stand in ipairs(stands) do
  if #found > limit and not probe then break end
  local held_till = parse_lease(leases[ids[i]])
  if held_till > now then await(held_till) else follow(stand, ids[i]) end
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
