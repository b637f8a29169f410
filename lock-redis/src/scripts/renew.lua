-- Sets the remaining time of a lease, if this owner holds it (laws T2, E3).
--
-- KEYS  1 lock   2 fence
-- ARGV  1 owner token   2 ttl in ms   3 ms for which a fence outlives its lease
-- Returns {'renewed', token} | {'lost'} | {'fence', why}

local stored = redis.call('MGET', KEYS[1], KEYS[2])
local held, last = stored[1], stored[2]

if not held or string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then
  return {'lost'}
end
if not last then
  return {'fence', 'it is gone although the lock is held'}
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], string.format('%.0f', ARGV[2] + ARGV[3]), 'GT')
return {'renewed', last}
