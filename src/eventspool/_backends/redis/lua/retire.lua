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
  -- A producer that looks for a job of this partition is still told that nothing of it was lost.
  local kept = call('HMGET', META, 'epoch', 'forgotten')
  for _, key in ipairs(KEYS) do
    if key ~= COMMITS then call('DEL', key) end
  end
  call('HSET', META, 'sealed', '1', 'retired', '1', 'bytes', SEALED_BYTES)
  for i, field in ipairs({'epoch', 'forgotten'}) do
    if kept[i] then call('HSET', META, field, kept[i]) end
  end
end
return totals
