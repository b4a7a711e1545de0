-- List the jobs of one state in the order of their time.
-- ARGV: ordering, state, limit, after, after_created_us   -> (id, time_us, size, tries, cause)...
local MOST_PAGES = 100 -- Leased jobs may lie between. However many they are, this call must not hold up the server for long.
local fifo, wanted, limit, after = is_fifo(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4]
local reply, count = {}, 0

local function add(id, time)
  count = count + 1
  reply[#reply + 1] = id
  reply[#reply + 1] = text(time - skew)
  reply[#reply + 1] = call('HGET', SIZES, id) or ''
  reply[#reply + 1] = call('HGET', TRIES, id) or ''
  reply[#reply + 1] = wanted == 'failed' and call('HGET', CAUSES, id) or ''
end

-- Where the job `after` has left the index meanwhile, the list goes on at the time of its creation: some jobs may be listed
-- twice, but none is left out.
local function rank_behind(key)
  if after == '' then return 0 end
  local rank = call('ZRANK', key, after)
  if rank then return rank + 1 end
  return call('ZCOUNT', key, '-inf', '(' .. text(ARGV[5] + skew))
end

if wanted == 'leased' or (wanted == 'delayed' and fifo) then
  local leases, found = call('HGETALL', LEASES), {}
  for i = 1, #leases, 2 do
    local till, owner = parse_lease(leases[i + 1])
    if till > now and (owner ~= '') == (wanted == 'leased') then found[#found + 1] = {id = leases[i], till = till} end
  end
  table.sort(found, function(a, b)
    if a.till ~= b.till then return a.till < b.till end
    return a.id < b.id
  end)
  local from = 1
  for i, job in ipairs(found) do
    if job.id == after then from = i + 1 end
  end
  for i = from, math.min(from + limit - 1, #found) do add(found[i].id, found[i].till) end
  return reply
end

local key = wanted == 'failed' and FAILED or ORDER
local rank = rank_behind(key)
if wanted == 'delayed' then rank = math.max(rank, call('ZCOUNT', ORDER, '-inf', text(now))) end
for _ = 1, MOST_PAGES do
  local page = call('ZRANGE', key, rank, rank + MAX_IDS - 1, 'WITHSCORES')
  for i = 1, #page, 2 do
    local id, score = page[i], tonumber(page[i + 1])
    if count >= limit then return reply end
    if wanted == 'failed' then
      add(id, score)
    elseif wanted == 'waiting' and not fifo and score > now then
      return reply
    elseif lease_of(id) <= now then
      add(id, score)
    end
  end
  if #page < 2 * MAX_IDS then break end
  rank = rank + MAX_IDS
end
return reply
