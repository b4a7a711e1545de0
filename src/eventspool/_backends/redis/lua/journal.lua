-- List the newest entries of a journal.
-- ARGV: journal, limit, the position before which they stand or "" for the newest, most bytes   -> (position, at_us, entry)...
local name, limit, most_bytes = ARGV[1], math.min(tonumber(ARGV[2]), MAX_IDS), tonumber(ARGV[4])
local first, last = journal_ends(name)
local start = math.min((tonumber(ARGV[3]) or last + 1) - 1, last)
local reply, size = {}, 0
for position = start, math.max(first, start - limit + 1), -1 do
  local at, entry = parse_entry(call('HGET', JOURNALS, place(name, position)))
  if at then
    reply[#reply + 1] = position
    reply[#reply + 1] = text(at)
    reply[#reply + 1] = entry
    size = size + #entry
    if size >= most_bytes then break end
  end
end
return reply
