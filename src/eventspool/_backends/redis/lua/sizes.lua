-- Return how many bytes the payload of each job has, 0 where there is none.
-- ARGV: id...
local reply = {}
for i = 1, #ARGV do reply[i] = call('HSTRLEN', PAYLOADS, ARGV[i]) end
return reply
