-- Delete what is left of a partition that is sealed, holds no job and remembers none. Its seal stays, for a producer that
-- knows no newer division.
-- ARGV: 1 to delete it, 0 to ask only   -> nothing where jobs are left in it, else its totals: accepted, delivered, failed, purged and moved
-- events of all time
begin()
if not is_sealed() or call('ZCARD', ORDER) + call('ZCARD', FAILED) + call('HLEN', PAYLOADS) > 0 then return {} end
forget_outdated()
if call('ZCARD', GONE) > 0 then return {} end
local totals = {total('accepted'), total('delivered'), total('buried'), total('purged'), total('moved')}
if ARGV[1] == '1' then
  local epoch = call('HGET', META, 'epoch')
  call('DEL', unpack(KEYS))
  call('HSET', META, 'sealed', '1', 'bytes', text(SEALED_BYTES))
  if epoch then call('HSET', META, 'epoch', epoch) end
end
return totals
