-- What commit.lua and commit_failed.lua share: which jobs the queue takes. Their payloads are in PAYLOADS by then.
-- ARGV of both: ordering, max_jobs, max_bytes, token, told, ...   -> {accepted, duplicates, epoch, number, rejected id...}
-- accepted is SEALED where the partition takes no new jobs, since the queue is divided anew: then no job was accepted.
local max_jobs, max_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
local failed = call('ZCARD', FAILED)
local jobs = call('ZCARD', ORDER) + failed
local bytes = amount(meta_bytes)
local SEALED, is_sealed = -2, meta_sealed == '1'
local accepted, duplicates, rejected, new_events, new_bytes = 0, 0, {}, 0, 0

-- Return the size of the payload in bytes where the queue takes the job; nil where it has the job already, or rejects it.
-- `size` is that size, where it is known because the payload was not stored before: then the job was not there either.
local function admit(id, events, keeps_order, size)
  if not size and (call('ZSCORE', ORDER, id) or (failed > 0 and call('ZSCORE', FAILED, id))) then
    duplicates = duplicates + 1
    return nil
  end
  size = size or call('HSTRLEN', PAYLOADS, id)
  local overtakes = keeps_order and #rejected > 0
  -- A job that is named twice, and was rejected the first time, has no payload any more.
  if is_sealed or overtakes or size == 0 or jobs >= max_jobs or bytes + new_bytes + size > max_bytes then
    call('HDEL', PAYLOADS, id)
    rejected[#rejected + 1] = id
    return nil
  end
  jobs, accepted = jobs + 1, accepted + 1
  new_events, new_bytes = new_events + number(events), new_bytes + size
  call('HSET', SIZES, id, events .. ':' .. size)
  return size
end

local function reply_to_commit()
  local epoch = meta_epoch
  if not epoch then
    epoch = text(now)
    call('HSET', META, 'epoch', epoch)
  end
  return {is_sealed and SEALED or accepted, duplicates, epoch, commit_number, unpack(rejected)}
end
