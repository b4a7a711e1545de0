-- The journals of a queue stand in one hash: "NAME" is "first:last", the positions that there are, and "NAME:position" is
-- "at:entry".

local function place(name, position) return name .. ':' .. text(position) end

local function journal_ends(name)
  local first, last = parse_size(call('HGET', JOURNALS, name))
  return math.max(first, 1), last
end

local function parse_entry(value)
  local at, entry = string.match(value or '', '^(%d+):(.*)$')
  if at then return number(at), entry end
end
