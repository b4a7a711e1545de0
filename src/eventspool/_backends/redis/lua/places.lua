-- Where jobs stand in the order.

-- The place behind which the next job goes. Processes of older versions give out places far in the future after the clock was
-- set back. A job behind such a place would not be due until then. Only FIFO needs the order so much that it accepts this.
-- `last` is the last place given out.
local function last_place(fifo, last)
  if not fifo and last - now > COARSE then return now end
  return last
end

-- Put a job behind the place `last`, and return the job's own place.
local function append(id, last)
  local place = math.max(now, last + 1)
  call('ZADD', ORDER, text(place), id)
  return place
end

-- Make a job that was leased or put off due at `due`. In FIFO the score is its place in the order, which it keeps. Only where
-- a processor that does not keep the order has moved it into the future, it gets a new one.
local function put_back(id, score, due, fifo)
  if not fifo or tonumber(score) > now then call('ZADD', ORDER, text(due), id) end
end
