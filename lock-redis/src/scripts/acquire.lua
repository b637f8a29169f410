-- Grants a free key, or grants again what its owner holds already (laws E1, E2, F1, U1, X1).
--
-- KEYS  1 lock   2 fence: the last fencing token   3 tombstone of this owner   4 line
-- ARGV  1 owner token   2 metadata   3 ttl in ms   4 ms for which a fence outlives its lease
--       5 ms in which the head of the queue must claim the key   6 this waiter in line, or ''
-- Returns {'granted', token} | {'held', ms left} | {'undone'} | {'foreign'} | {'fence', why}

local stored = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3]) -- another type reads as absent
local held, last, undone = stored[1], stored[2], stored[3]
local owner, waiter = ARGV[1], ARGV[6]

if undone then
  return {'undone'}
end
if unfit(last) then
  return {'fence', unfit(last)}
end

if is(held, owner) then
  if not last then
    return {'fence', 'it is gone although the lock is held'}
  end
  if held == owner and ARGV[2] ~= '' then -- granted by the queue, which does not know the metadata
    redis.call('SET', KEYS[1], owner .. ARGV[2], 'XX', 'PX', ARGV[3])
  else
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
  end
  return {'granted', last}
end

if not held then
  if not last and redis.call('EXISTS', KEYS[2]) == 1 then
    return {'fence', 'it is not a string'}
  end
  if serve(KEYS[1], KEYS[2], KEYS[4], last, ARGV[5], ARGV[4], waiter, true) ~= 'granted' then
    local token, ahead = mint(last)
    if not token then
      return {'fence', 'its numbers are used up'}
    end
    if redis.call('SET', KEYS[1], owner .. ARGV[2], 'NX', 'PX', ARGV[3]) then
      keep(KEYS[2], token, ahead, ARGV[3] + ARGV[4])
      if waiter ~= '' then
        line_call('ZREM', KEYS[4], waiter)
      end
      return {'granted', token}
    end
    -- SET NX found a key that MGET could not read: it has another type.
  end
end

local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  return {'foreign'}
end
if waiter ~= '' then
  local place = now()
  if string.sub(waiter, 23, 23) == 'h' then
    place = place + LISTENERS
  end
  line_call('ZADD', KEYS[4], 'NX', string.format('%.0f', place), waiter)
  -- A waiter that lives comes back by the end of the lease.
  line_call('PEXPIRE', KEYS[4], left + 60000)
end
return {'held', left}
