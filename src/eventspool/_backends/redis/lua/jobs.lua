-- List the jobs of one state in the order of their time.
-- ARGV: ordering, state, limit, after, us, 1 where the list had that time for the job `after` or 0 where it was created then
-- -> (id, time_us, size, tries, cause)...
local MOST_PAGES = 100 -- Leased jobs may lie between. However many they are, this call must not hold up the server for long.
local placed, wanted, limit, after = keeps_places(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4]
local since, is_known = tonumber(ARGV[5]) + skew, ARGV[6] == '1'
local reply, count = {}, 0

local function add(ids, times)
  if #ids == 0 then return end
  local sizes, tries = call('HMGET', SIZES, unpack(ids)), call('HMGET', TRIES, unpack(ids))
  local causes = wanted == 'failed' and call('HMGET', CAUSES, unpack(ids))
  for i, id in ipairs(ids) do
    count = count + 1
    reply[#reply + 1] = id
    reply[#reply + 1] = text(times[i] - skew)
    reply[#reply + 1] = sizes[i] or ''
    reply[#reply + 1] = tries[i] or ''
    reply[#reply + 1] = causes and causes[i] or ''
  end
end

-- The list goes on behind the job `after`. Where that job has left the index meanwhile, or was moved on in it, the list goes on
-- where the job stood: some jobs may be listed twice, but none is left out.
local function rank_behind(key)
  if after == '' then return 0 end
  local rank, there = call('ZRANK', key, after), call('ZSCORE', key, after)
  if rank and not (is_known and tonumber(there) > since) then return rank + 1 end
  return call('ZCOUNT', key, '-inf', '(' .. text(since))
end

if wanted == 'leased' or (wanted == 'delayed' and placed) then
  local leases, found = call('HGETALL', LEASES), {}
  local behind = {till = is_known and since or 0, id = is_known and after or ''}
  for i = 1, #leases, 2 do
    local till, owner = parse_lease(leases[i + 1])
    if till > now and (owner ~= '') == (wanted == 'leased') then
      found[#found + 1] = {id = leases[i], till = till}
      if leases[i] == after and (till < since or not is_known) then behind = found[#found] end
    end
  end
  local function is_before(a, b)
    if a.till ~= b.till then return a.till < b.till end
    return a.id < b.id
  end
  table.sort(found, is_before)
  local ids, times = {}, {}
  for _, job in ipairs(found) do
    if #ids < limit and is_before(behind, job) then
      ids[#ids + 1], times[#times + 1] = job.id, job.till
    end
  end
  add(ids, times)
  return reply
end

local key = wanted == 'failed' and FAILED or ORDER
local rank = rank_behind(key)
if wanted == 'delayed' then rank = math.max(rank, call('ZCOUNT', ORDER, '-inf', now)) end
for n = 1, MOST_PAGES do
  local size = n == 1 and math.min(MAX_IDS, limit + 100) or MAX_IDS -- Some may be in another state.
  local page = call('ZRANGE', key, rank, rank + size - 1, 'WITHSCORES')
  local met, leases, ids, times, is_over = {}, {}, {}, {}, #page < 2 * size
  for i = 1, #page, 2 do met[#met + 1] = page[i] end
  if #met > 0 and wanted ~= 'failed' then leases = call('HMGET', LEASES, unpack(met)) end
  for i, id in ipairs(met) do
    local score = tonumber(page[2 * i])
    if count + #ids >= limit or (wanted == 'waiting' and not placed and score > now) then
      is_over = true
      break
    end
    if wanted == 'failed' or parse_lease(leases[i]) <= now then ids[#ids + 1], times[#times + 1] = id, score end
  end
  add(ids, times)
  if is_over then break end
  rank = rank + size
end
return reply
