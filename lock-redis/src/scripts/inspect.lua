-- Tells who holds a key, without side effects (law I1).
--
-- KEYS  1 lock   2 fence
-- Returns {'free'} | {'foreign'} | {'held', value, ms left, token or false}

local stored = redis.call('MGET', KEYS[1], KEYS[2])
local left = redis.call('PTTL', KEYS[1])

if left == -2 then
  return {'free'}
end
if not stored[1] then
  return {'foreign'}
end
return {'held', stored[1], left, stored[2]}
