-- How many jobs failed for which reason. The field "r:<reason>" is "jobs:events:bytes".
local function reason_of(cause)
  local reason = string.match(cause or '', '^{"reason": "([%w_]+)"') -- Usually it is written like this. Decoding takes longer.
  if reason then return reason end
  local sound, decoded = pcall(cjson.decode, cause or '')
  reason = sound and type(decoded) == 'table' and decoded.reason
  return type(reason) == 'string' and reason or 'unknown'
end

local function parse_depth(value)
  local jobs, events, bytes = string.match(value or '', '^(%d+):(%d+):(%d+)$')
  return number(jobs), number(events), number(bytes)
end

local function count_reason(cause, jobs, events, bytes)
  local field = 'r:' .. reason_of(cause)
  local j, e, b = parse_depth(call('HGET', META, field))
  if j + jobs > 0 then
    call('HSET', META, field, text(j + jobs) .. ':' .. text(math.max(e + events, 0)) .. ':' .. text(math.max(b + bytes, 0)))
  else
    call('HDEL', META, field)
  end
end
