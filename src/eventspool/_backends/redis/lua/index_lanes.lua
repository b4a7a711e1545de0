-- Build the index of lanes anew where it is not whole, a page of the order at a time, so that no call holds up the server for long.
-- Jobs that come and go meanwhile are entered and withdrawn as ever. -> 1 where there is more to do, else 0
begin()
if not laned then return 0 end
local from = meta_index_from
if not from then
  if is_index_whole() then return 0 end
  call('DEL', LANES)
  meta_lanes, from = '0:0', '0'
  call('HSET', META, 'lanes', meta_lanes)
end

-- Where the queue kept no order, the score of a job that is leased or put off is a time to come. Such a job gets the place at
-- which it was made, and one that is put off is held back, as jobs that keep their places are.
local function settle_place(id, score)
  if lease_of(id) <= now then call('HSET', LEASES, id, lease(text(score), '')) end
  local ms = string.match(id, '^%x%x%x%x%x%x%x%x%x%x%x%x')
  local place = math.min(ms and tonumber(ms, 16) * 1000 or now, now)
  call('ZADD', ORDER, place, id)
  return place
end

from = amount(from)
local size, page, last = MAX_IDS, {}, from
repeat -- A page that has one place alone is read again, with more jobs: else the next page would begin where this one did.
  page = call('ZRANGEBYSCORE', ORDER, from == 0 and '-inf' or from, '+inf', 'WITHSCORES', 'LIMIT', 0, size)
  last = math.min(tonumber(page[#page] or 0), now)
  local is_last_page = #page < 2 * size
  size = 2 * size
until is_last_page or last > from
local is_over = #page < size
for i = 1, #page, 2 do
  local id, place = page[i], tonumber(page[i + 1])
  if place > now + COARSE then place = settle_place(id, place) end
  enter(id, place)
end
call('HSET', META, 'index_from', last, changed_lanes())
if is_over then call('HDEL', META, 'index_from') end
return is_over and 0 or 1
