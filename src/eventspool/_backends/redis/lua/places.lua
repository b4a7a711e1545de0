-- Where jobs stand in the order.

-- The place behind which the next job goes. Processes of older versions give out places far in the future after the clock was
-- set back. A job behind such a place would not be due until then. Only FIFO needs the order so much that it accepts this.
-- `last` is the last place given out.
local function last_place(placed, last)
  if not placed and last - now > COARSE then return now end
  return last
end

-- Put a job behind the place `last`, and return the job's own place.
local function append(id, last)
  local place = math.max(now, last + 1)
  call('ZADD', ORDER, place, id)
  if laned then enter(id, place) end
  return place
end

-- Make a job that was leased or put off due at `due`. Where the score is its place in the order, it keeps that. Only in FIFO,
-- where a processor that does not keep the order has moved it into the future, it gets a new one.
local function put_back(id, score, due, placed)
  if not laned and (not placed or tonumber(score) > now) then call('ZADD', ORDER, due, id) end
end
