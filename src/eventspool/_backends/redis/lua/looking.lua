-- How scripts look at jobs and processors.

-- Add up the events and bytes of jobs. Where the size of a job is not stored, `measure(id)` returns it.
local function add_up(ids, measure)
  local events, bytes = 0, 0
  for from = 1, #ids, MAX_IDS do
    local values = call('HMGET', SIZES, unpack(ids, from, math.min(from + MAX_IDS - 1, #ids)))
    for i, value in ipairs(values) do
      local e, b = parse_size(value or measure and measure(ids[from + i - 1]))
      events, bytes = events + e, bytes + b
    end
  end
  return events, bytes
end

local function is_live(seen) return now - number(seen) <= PROCESSOR_TTL end

-- The state of a job as Python names it; nil where the queue has no such job.
local function state_of(id, placed)
  local score = call('ZSCORE', ORDER, id)
  if not score then return call('ZSCORE', FAILED, id) and 'failed' or nil end
  local till, owner = lease_of(id)
  if till > now then return owner == '' and 'delayed' or 'leased' end
  return not placed and tonumber(score) > now and 'delayed' or 'waiting'
end
