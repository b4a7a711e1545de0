-- Delete those of the jobs that are in one state, and remember their ids. A job that was leased meanwhile is in another state.
-- ARGV: ordering, state, id...   -> how many
begin()
local placed, wanted, ids = keeps_places(ARGV[1]), ARGV[2], {}
for i = 3, #ARGV do
  if state_of(ARGV[i], placed) == wanted then ids[#ids + 1] = ARGV[i] end
end
local purged = forget(ids, 'purged', '')
if purged > 0 then forget_outdated() end
return purged
