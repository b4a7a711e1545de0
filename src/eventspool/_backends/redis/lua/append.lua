-- Append an entry to a journal, unless its newest one is too young.
-- ARGV: journal, entry, most entries, apart_us   -> 1, or 0 where nothing was appended
begin()
local name, most = ARGV[1], tonumber(ARGV[3])
local at, first, last = now - skew, journal_ends(name)
local newest = last > 0 and parse_entry(call('HGET', JOURNALS, place(name, last)))
if newest and newest <= at and at - newest < tonumber(ARGV[4]) then return 0 end
last = last + 1
call('HSET', JOURNALS, place(name, last), text(at) .. ':' .. ARGV[2])
for position = first, math.min(last - most, first + MAX_IDS) do
  call('HDEL', JOURNALS, place(name, position))
  first = position + 1
end
call('HSET', JOURNALS, name, text(first) .. ':' .. text(last))
return 1
