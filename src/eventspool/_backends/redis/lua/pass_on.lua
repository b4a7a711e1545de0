-- Forget jobs that another queue has taken.
-- ARGV: remember, id...   -> how many were stored
begin()
local stored = forget({unpack(ARGV, 2)}, 'moved', ARGV[1] == '1' and 'moved' or nil)
if stored > 0 then forget_outdated() end
return stored
