-- What the scripts that commit read first, and together: each call of the server's costs a commit more than a microsecond. It stands
-- before prelude.lua, which takes its first two values from here, so META has no name yet. Other scripts begin with
-- `local all_before`.
local all_before = redis.call('HMGET', KEYS[8],
  'clock', 'per_user', 'last', 'events', 'bytes', 'failed_events', 'failed_bytes', 'accepted', 'epoch', 'sealed')
