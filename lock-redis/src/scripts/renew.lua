-- Sets the remaining time of a lease, if this owner holds it (laws T2, E3).
--
-- KEYS  1 lock   2 fence
-- ARGV  1 owner token   2 ttl in ms   3 ms for which a fence outlives its lease
--       4 the fencing token of the grant, or '' if the caller does not know it
-- Returns {'renewed', token} | {'lost'} | {'fence', why}

local stored = redis.call('MGET', KEYS[1], KEYS[2])
local held, last = stored[1], stored[2]

if not held or string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then
  return {'lost'}
end
local outlives = string.format('%.0f', ARGV[2] + ARGV[3])
if not last then
  if ARGV[4] == '' then
    return {'fence', 'it is gone although the lock is held'}
  end
  -- Deleted by hand. The lock is held, so its token is still the last one.
  last = ARGV[4]
  redis.call('SET', KEYS[2], last, 'NX', 'PX', outlives)
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], outlives, 'GT')
return {'renewed', last}
