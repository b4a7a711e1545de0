-- How claim_lanes.lua finds the jobs that may go, however many lie before them: by the first job of each lane.

-- Note as many jobs as were asked for, and one more; chains of at most `most` jobs. Return whether the index is sound, and for how long
-- jobs that are under way hold up others.
local function ask_lanes(most, most_bytes)
  local CLOSED = '' -- Stands in the place of the first job of a lane of which no more may be leased. It is less than any stand.
  local WIDE_PAGE, NARROW_PAGE, LONGEST_PAGE = 16, math.min(most, 2), 64
  local lanes, heads, stands, ids = {}, {}, {}, {}
  local lines = {} -- by lane: what has been read of it, and where in that its first job stands
  local wait, is_sound = nil, true

  -- Find the first job of each lane. A page begins with that of the next lane, behind which others of that lane follow. Where these
  -- are few the page has the first jobs of further lanes, too. Where they are not, it need not be longer than a chain.
  do
    local is_listed, from, size = {}, '-', WIDE_PAGE
    repeat
      local page, met = call('ZRANGE', LANES, from, '+', 'BYLEX', 'LIMIT', 0, size), 0
      for at, entry in ipairs(page) do
        local lane = string.sub(entry, 1, 1)
        if not heads[lane] then
          local stand = string.sub(entry, 2)
          lanes[#lanes + 1], heads[lane], met = lane, stand, met + 1
          lines[lane] = {entries = page, at = at}
          if not is_listed[stand] then stands[#stands + 1], is_listed[stand] = stand, true end
        end
      end
      if #page == size then from = '(' .. lanes[#lanes] .. '~' end
      local is_over = met == 0 or #page < size
      if met < 2 then size = NARROW_PAGE end
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
    if touched[1] == ALL then
      for _, lane in ipairs(lanes) do
        if heads[lane] and heads[lane] < stand then return false end
      end
      return heads[ALL] == stand
    end
    for _, lane in ipairs(touched) do
      if heads[lane] ~= stand then return false end
    end
    return not heads[ALL] or heads[ALL] > stand
  end

  -- Put the next job of a lane in the place of its first one.
  local function advance(lane)
    local line = lines[lane]
    if line.at == #line.entries then
      local size = math.min(2 * line.at, LONGEST_PAGE)
      line.entries = call('ZRANGE', LANES, '(' .. lane .. heads[lane], '(' .. lane .. '~', 'BYLEX', 'LIMIT', 0, size)
      line.at = 0
    end
    line.at = line.at + 1
    local entry = line.entries[line.at]
    heads[lane] = entry and string.sub(entry, 1, 1) == lane and string.sub(entry, 2) or nil
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
      is_sound = false
      return false
    end
    found[#found + 1] = offered(id, owner, was_idle, read(tries, TRIES, id), 0)
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
      for _, lane in ipairs(touched[1] == ALL and lanes or touched) do own[lane] = true end
      if is_alone or length >= most or #found >= limit then break end
      if most_bytes >= 0 then
        bytes = bytes + call('HSTRLEN', PAYLOADS, id)
        if bytes >= most_bytes then break end
      end
      for _, lane in ipairs(touched) do advance(lane) end
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
  return is_sound, wait
end
