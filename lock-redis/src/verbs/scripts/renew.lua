-- Sets the remaining time of a lease, if this owner holds it (laws T2, E3).
--
-- KEYS  1 lock   2 fence
-- ARGV  1 owner token   2 ttl in ms   3 the fencing token of the grant, if the caller knows it
-- Returns the fencing token | {'lost'} | {'fence', why}

local stored = redis.call('MGET', KEYS[1], KEYS[2])
local held, fence = stored[1], stored[2]

if not held or string.sub(held, 1, 22) ~= ARGV[1] then
  return {'lost'}
end
local outlives = ARGV[2] + FENCE_OUTLIVES
if not fence or string.byte(fence) == 48 then -- '0': only a mark is left
  if not ARGV[3] then
    return {'fence', 'it is gone although the lock is held'}
  end
  -- It was deleted by hand. The lock is held, so its token is still the last one. Assume waiters.
  local mark = fence and string.sub(fence, 2) or '*'
  redis.call('SET', KEYS[2], ARGV[3] .. mark, fence and 'XX' or 'NX', 'PX', outlives)
  fence = ARGV[3] .. mark
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], outlives, 'GT')
return fence
