-- Replace an entry of a journal; its time stays.
-- ARGV: journal, position, expected entry, new entry   -> 1, or 0 where something else is there
begin()
local at, entry = parse_entry(call('HGET', JOURNALS, place(ARGV[1], tonumber(ARGV[2]))))
if not at or entry ~= ARGV[3] then return 0 end
call('HSET', JOURNALS, place(ARGV[1], tonumber(ARGV[2])), text(at) .. ':' .. ARGV[4])
return 1
