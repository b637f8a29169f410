-- Sets the fencing token of a lease to a larger one, if this owner holds it (laws E3, Q1).
--
-- KEYS  1 lock   2 fence
-- ARGV  1 owner token   2 fencing token
-- Returns the fencing token | {'lost'} | {'fence', why}

local stored = call('MGET', KEYS[1], KEYS[2])
local held, fence = stored[1], stored[2]

if not held or string.sub(held, 1, 22) ~= ARGV[1] then
  return {'lost'}
end
local last, mark = read(fence, KEYS[2])
if not last then
  return {'fence', mark}
end
local token = tonumber(ARGV[2])
if last >= token then
  return fence
end
local ahead = math.max(0, math.ceil((token - now()) / 1000))
keep(KEYS[2], ARGV[2], mark, math.max(call('PTTL', KEYS[1]), 0), ahead)
return ARGV[2]
