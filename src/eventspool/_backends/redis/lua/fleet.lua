-- What all processors know together of the data plane, and how many events they may send: as in eventspool/_backends/fleet.py,
-- which says what each value means. The field "hold" of META is "until:asked:step:longest:dues:permit:prober:why", "doubt" is
-- "failures:since", "answered" is when an event was last delivered, and "paid" is up to when the rate is paid for.
local function parse_hold(value)
  local until_, asked, step, longest, dues, permit, prober, why =
    string.match(value or '', '^(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):([^:]*):(.*)$')
  if not until_ or number(until_) - now > LONGEST_HOLD then return nil end
  return {
    ends = number(until_), asked = number(asked), step = number(step), longest = number(longest), dues = number(dues),
    permit = number(permit), prober = prober, why = why,
  }
end

local function store_hold(hold)
  local value = table.concat({
    text(hold.ends), text(hold.asked), text(hold.step), text(hold.longest), text(hold.dues), text(hold.permit),
    hold.prober, hold.why,
  }, ':')
  call('HSET', META, 'hold', value)
end
