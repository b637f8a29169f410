-- Tells who holds a key, without side effects (law I1).
--
-- KEYS  1 lock   2 fence
-- Returns {'free'} | {'foreign'} | {'other', ms left} for another type of data
--   | {'held', value, ms left or -1, token or false}

local stored = redis.call('MGET', KEYS[1], KEYS[2])
local left = redis.call('PTTL', KEYS[1])

if left == -2 then
  return {'free'}
end
if not stored[1] then
  return left < 0 and {'foreign'} or {'other', left}
end
return {'held', stored[1], left, stored[2]}
