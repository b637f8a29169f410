-- Reports who holds a key, without side effects (law I1).
--
-- KEYS  1 lock   2 fence   3 queue
-- Returns {'free', waiting}
--   | {'held', value, ms left or -1, token or false, waiting}
--   | {'other', ms left, waiting} for data of another type | {'foreign'} if that never expires

local stored = redis.call('MGET', KEYS[1], KEYS[2])
local left = redis.call('PTTL', KEYS[1])
local waiting = tonumber(redis.pcall('ZCARD', KEYS[3])) or 0

if left == -2 then
  return {'free', waiting}
end
if not stored[1] then
  return left < 0 and {'foreign'} or {'other', left, waiting}
end
return {'held', stored[1], left, stored[2], waiting}
