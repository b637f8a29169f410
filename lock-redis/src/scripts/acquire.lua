-- Grants a free key, or grants again what its owner holds already (laws E1, E2, F1, U1, X1).
--
-- KEYS  1 lock   2 fence: the last fencing token   3 tombstone of this owner
-- ARGV  1 owner token   2 metadata   3 ttl in ms   4 ms for which a fence outlives its lease
-- Returns {'granted', token} | {'held', ms left} | {'undone'} | {'foreign'} | {'fence', why}

local LARGEST = 9007199254740991 -- 2^53 - 1: beyond it Lua numbers skip integers

local stored = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3]) -- another type reads as absent
local held, last, undone = stored[1], stored[2], stored[3]

if undone then
  return {'undone'}
end

if last and not (string.find(last, '^[1-9]%d*$') and #last <= 16 and tonumber(last) <= LARGEST) then
  return {'fence', 'it is not a number from 1 to 2^53 - 1'}
end

if held and string.sub(held, 1, #ARGV[1]) == ARGV[1] then
  if not last then
    return {'fence', 'it is gone although the lock is held'}
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {'granted', last}
end

if not held then
  if not last and redis.call('EXISTS', KEYS[2]) == 1 then
    return {'fence', 'it is not a string'}
  end
  -- The server's clock in microseconds is the floor: when the counter itself is lost (restart,
  -- flush, failover), time has moved on, and tokens still grow.
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
  local token = now
  if last and tonumber(last) >= now then
    token = tonumber(last) + 1
  end
  if token > LARGEST then
    return {'fence', 'its numbers are used up'}
  end
  if redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'NX', 'PX', ARGV[3]) then
    -- A token ahead of the clock (it was set back) is kept until the clock has caught up.
    local ahead = math.ceil((token - now) / 1000)
    local text = string.format('%.0f', token)
    redis.call('SET', KEYS[2], text, 'PX', string.format('%.0f', ARGV[3] + ARGV[4] + ahead))
    return {'granted', text}
  end
  -- SET NX found a key that MGET could not read: it has another type.
end

local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  return {'foreign'}
end
return {'held', left}
