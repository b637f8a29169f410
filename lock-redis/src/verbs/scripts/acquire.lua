-- Grants a free key, or grants it again to the owner that holds it (laws E1, E2, F1, U1, X1).
--
-- KEYS  1 lock   2 fence   3 tombstone of this owner   4 queue   5 node mark, in a quorum
-- ARGV  1 owner token, byte 31 and metadata   2 ttl in ms
--       3 the least that a new fencing token should be, or 0
--       outside a quorum:
--       4 the queue entry of this owner, if it ever listened
--       5 '1' if this owner takes a place in the queue when it is refused
--       in a quorum:
--       4 for how many ms a node without its mark grants nothing
--       5 the process that the caller is connected to, if it is known
-- Returns the fencing token
--   | the ms left to another owner of ours
--   | {'contested', the ms left or -1, 0 if one of ours holds the key, 1 if a foreign string does,
--     2 if foreign data of another type does}
--   | {'undone'} | {'foreign'} | {'fence', why} | {'settling', ms}

local waiter = not KEYS[5] and ARGV[4]
local stored -- another type reads as absent
if KEYS[5] then
  stored = call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[5])
  -- A node without its mark may have forgotten that it granted this key.
  local left = left_out(KEYS[5], stored[4], ARGV[4], ARGV[5])
  if left > 0 then
    return {'settling', left}
  end
else
  stored = call('MGET', KEYS[1], KEYS[2], KEYS[3])
end
local held, fence = stored[1], stored[2]

if stored[3] then
  return {'undone'}
end
local last, found = read(fence, KEYS[2])
if not last then
  return {'fence', found}
end

local queue, pause
if not held then
  queue = found ~= '' and open_queue(found)
  local dispatcher = queue and queue.dispatcher()
  local served = dispatcher and dispatcher.serve(KEYS[1], KEYS[2], KEYS[4], last, 'NX', waiter)
  if served == 'break' then
    held, pause = '\31', dispatcher.break_left() -- our own clients treat the key as held
  elseif served ~= 'granted' then
    local token, ahead = mint(last, ARGV[3])
    if not token then
      return {'fence', 'its numbers are used up'}
    end
    if call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
      local mark = ''
      if queue then
        queue.call('ZREM', KEYS[4], waiter or '')
        mark = queue.mark(KEYS[4])
      end
      keep(KEYS[2], token, mark, ARGV[2], ahead)
      return token
    end
    -- SET NX found a key that MGET could not read: it has another type.
  else
    held = '\31' -- by one of ours
  end
elseif string.sub(held, 1, 22) == string.sub(ARGV[1], 1, 22) then
  if last == 0 then
    return {'fence', 'it is gone although the lock is held'}
  end
  -- A grant by the queue has no metadata. Add it, unless the server is out of memory.
  if #held == 23 and #ARGV[1] > 23 then
    open_queue().call('SET', KEYS[1], ARGV[1], 'XX', 'KEEPTTL')
  end
  call('PEXPIRE', KEYS[1], ARGV[2], 'GT') -- an old copy must not shorten a renewed lease
  return fence
else
  held = string.sub(held, 23, 23)
end

local left = pause or call('PTTL', KEYS[1])
local foreign = held ~= '\31'
-- Data of another type without expiry is no lock, and never becomes free. A string without expiry
-- is most likely the lock of a library that sets no expiry unless asked (redis-py), so it counts as
-- held.
if not held and left < 0 then
  return {'foreign'}
end
if not queue and not KEYS[5] and (waiter or foreign or found ~= '') then
  queue = open_queue(found)
end
if queue and foreign and not KEYS[5] then
  queue.dispatcher().contest(KEYS[2], fence)
end
if waiter and ARGV[5] == '1' then
  local place = now()
  if string.sub(waiter, 23, 23) == 'h' then
    place = place + 2 ^ 52 -- behind all who queue
  end
  if queue.call('ZADD', KEYS[4], 'NX', string.format('%d', place), waiter) then
    -- A live waiter asks again by the end of the lease.
    local stays = math.min(left, 1e12) + 60000
    if queue.call('PTTL', KEYS[4]) < stays then
      queue.call('PEXPIRE', KEYS[4], stays)
    end
    if queue.token then -- that grant may have emptied the queue, and its mark
      queue.call('SET', KEYS[2], queue.token .. queue.mark(KEYS[4], true), 'KEEPTTL')
    elseif not fence then
      queue.call('SET', KEYS[2], '0*', 'PX', stays, 'NX')
    elseif found == '' and not foreign then
      queue.call('SET', KEYS[2], fence .. '*', 'KEEPTTL')
    end
  end
end
-- A time right behind the '*', instead of a ',', says that a foreign locker was seen.
local seen = queue and string.byte(found, 2) or 44
if foreign or seen ~= 44 and queue.dispatcher().contested() then
  return {'contested', left, not foreign and 0 or held and 1 or 2}
end
return left
