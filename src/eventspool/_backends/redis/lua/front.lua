-- How claim_lanes.lua takes jobs from the front of the order. Most of the time the first jobs are those that may go, and this needs
-- no look at the lanes, which takes a call for each.
local FIRST_PAGE, MOST_HELD_UP = 8, 4
local HELD = {is_closed = true} -- Has the lanes of jobs that are under way, or held up.
local owners = {} -- by lane: the chain that has it

-- The chain behind which a job that touches these lanes comes: HELD where these are several, nil where there is none.
local function find_owner(touched)
  local owner = owners[ALL]
  if touched[1] == ALL then
    for _, each in pairs(owners) do
      if owner and each ~= owner then return HELD end
      owner = each
    end
    return owner
  end
  for _, lane in ipairs(touched) do
    local each = owners[lane]
    if each and owner and each ~= owner then return HELD end
    owner = each or owner
  end
  return owner
end

-- Take as many jobs as were asked for, and one more, from the front; chains as claim_lanes.lua says, of at most `most` jobs.
-- Return whether that was enough: not where some of the first jobs are held up, for many more may lie behind those. Then nothing is
-- taken, and the lanes are to be asked. Return also for how long jobs that are under way hold up others.
local function take_front(most, most_bytes)
  local chains, count, held_up, wait = {}, 0, 0, nil
  local from, size = 0, math.min(FIRST_PAGE, limit + MOST_HELD_UP + 1)
  repeat
    local ids = call('ZRANGE', ORDER, from, from + size - 1)
    local leases, tries = {}, {}
    if #ids > 0 then leases, tries = call('HMGET', LEASES, unpack(ids)), call('HMGET', TRIES, unpack(ids)) end
    for i, id in ipairs(ids) do
      local touched = lanes_of(id)
      local owner, chain = find_owner(touched), HELD
      local held_till, lessee, was_idle = parse_lease(leases[i])
      if held_till > now then
        wait = math.min(wait or held_till - now, held_till - now)
      elseif not (owner and owner.is_closed) then
        local job = offered(id, lessee, was_idle, tries[i], 0)
        local is_alone = job.attempts > 0 or job.progress ~= ''
        if not owner then
          chain = {bytes = 0}
          chains[#chains + 1] = chain
        elseif not is_alone then
          chain = owner
        end
        if chain ~= HELD then
          chain[#chain + 1], count = job, count + 1
          if most_bytes >= 0 then chain.bytes = chain.bytes + call('HSTRLEN', PAYLOADS, id) end
          chain.is_closed = is_alone or #chain >= most or (most_bytes >= 0 and chain.bytes >= most_bytes)
        end
      end
      if chain == HELD then held_up = held_up + 1 end
      if held_up > MOST_HELD_UP then return false end
      if count > limit then break end
      for _, lane in ipairs(touched) do owners[lane] = chain end
    end
    local is_last = #ids < size
    from, size = from + size, limit + MOST_HELD_UP + 1
  until is_last or count > limit
  for _, chain in ipairs(chains) do
    for _, job in ipairs(chain) do found[#found + 1] = job end
  end
  return true, wait
end
