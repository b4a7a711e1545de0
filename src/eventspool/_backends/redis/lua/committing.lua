-- What commit.lua and commit_failed.lua share: which jobs the queue takes. Their payloads are in PAYLOADS by then.
-- ARGV of both: ordering, max_jobs, max_bytes, token, told, ...   -> {accepted, duplicates, epoch, number, rejected id...}
-- `token` is the producer, and `told` the number of its last commit. Where this server has lost that commit, nothing is stored:
-- -> {-1, the number of the last one that it knows of}
-- accepted is SEALED where the partition takes no new jobs, since the queue is divided anew: then no job was accepted.
local commit_number, last_known = number_commit(ARGV[4], tonumber(ARGV[5]))
if not commit_number then return {-1, text(last_known)} end
local max_jobs, max_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
local failed = call('ZCARD', FAILED)
local jobs = call('ZCARD', ORDER) + failed
local all_before = call('HMGET', META, 'last', 'events', 'bytes', 'failed_events', 'failed_bytes', 'accepted', 'epoch',
  'sealed')
local bytes = amount(all_before[3])
local SEALED, is_sealed = -2, all_before[8] == '1'
local accepted, duplicates, rejected, new_events, new_bytes = 0, 0, {}, 0, 0

-- Return the size of the payload in bytes where the queue takes the job; nil where it has the job already, or rejects it.
-- `size` is that size, where it is known.
local function admit(id, events, keeps_order, size)
  if call('ZSCORE', ORDER, id) or (failed > 0 and call('ZSCORE', FAILED, id)) then
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
  call('HSET', SIZES, id, events .. ':' .. text(size))
  return size
end

local function reply_to_commit()
  local epoch = all_before[7]
  if not epoch then
    epoch = text(now)
    call('HSET', META, 'epoch', epoch)
  end
  return {is_sealed and SEALED or accepted, duplicates, epoch, text(commit_number), unpack(rejected)}
end
