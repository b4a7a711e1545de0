-- Note what a processor has heard of the data plane.
-- ARGV: token, 1 where it sent the probe, failures (0: the data plane works), pause_us, longest_us, retry_after_us,
-- 1 where the key was refused, why   -> {us for which all stay away, why}, or nothing where they do not
begin()
local token, is_probe, failures = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])
local step, longest, retry_after = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local key_is_refused, why = ARGV[7] == '1', ARGV[8]
local stored = call('HMGET', META, 'hold', 'doubt', 'answered')
local hold, answered = parse_hold(stored[1]), amount(stored[3])
local asked = retry_after > 0 and now + retry_after or 0

if failures == 0 then
  call('HSET', META, 'answered', now)
  -- A delivery in another partition, of a request that may have begun before all stayed away: it ends no hold.
  if token == '' then return hold and {hold.ends - now, hold.why} or {} end
  if hold and hold.asked > now and not is_probe then return {hold.ends - now, hold.why} end
  if call('HDEL', META, 'hold', 'doubt') > 0 then wake(WAKE) end
  return {}
end

if hold then
  hold.asked = math.max(hold.asked, asked)
  if is_probe and hold.prober == token then
    if hold.permit - PROBE_PERMIT >= hold.dues then -- A lone processor would have sent this one, too.
      hold.step = math.min(2 * hold.step, hold.longest)
      hold.dues = now + hold.step
    end
    hold.ends = math.max(now + math.min(hold.step, PROBE_PAUSE), hold.asked)
    hold.permit, hold.prober, hold.why = 0, '', why
  else
    hold.ends = math.max(hold.ends, hold.asked)
  end
  store_hold(hold)
  return {math.max(hold.ends - now, 0), hold.why}
end

local before, since = parse_size(stored[2])
if before == 0 or answered > since then before, since = 0, now end
failures = before + failures
if not (asked > 0 or failures >= FAILURES or (key_is_refused and now - answered > SECOND)) then
  call('HSET', META, 'doubt', text(failures) .. ':' .. text(since))
  return {}
end
call('HDEL', META, 'doubt')
store_hold({
  ends = math.max(now + math.min(step, PROBE_PAUSE), asked), asked = asked, step = step, longest = longest,
  dues = now + step, permit = 0, prober = '', why = why,
})
return {math.max(now + math.min(step, PROBE_PAUSE), asked) - now, why}
