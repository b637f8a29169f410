-- Frees a key, if this owner holds it; else leaves a tombstone, so that an acquisition of this owner
-- that is still on its way cannot come to life after its own undo (laws E3, U1).
--
-- KEYS  1 lock   2 tombstone of this owner
-- ARGV  1 owner token   2 ms for which the tombstone stays
-- Returns 1 if the key was this owner's, else 0

local held = redis.call('MGET', KEYS[1])[1] -- another type reads as absent

if held and string.sub(held, 1, #ARGV[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  return 1
end
-- A server out of memory refuses this; the caller must know that there is no tombstone.
redis.call('SET', KEYS[2], '', 'PX', ARGV[2])
return 0
