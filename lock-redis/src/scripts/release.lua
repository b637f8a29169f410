-- Frees a key, if this owner holds it, and gives it to the head of its queue; else leaves a
-- tombstone, so that an acquisition of this owner that is still on its way cannot come to life after
-- its own undo (laws E3, U1). Either way the owner leaves the line.
--
-- KEYS  1 lock   2 fence   3 tombstone of this owner   4 line
-- ARGV  1 owner token   2 ms for which the tombstone stays   3 ms for which a fence outlives its lease
--       4 ms in which the head of the queue must claim the key   5 this waiter in line, or ''
-- Returns 1 if the key was this owner's, else 0

local stored = redis.call('MGET', KEYS[1], KEYS[2]) -- another type reads as absent

if ARGV[5] ~= '' then
  line_call('ZREM', KEYS[4], ARGV[5])
end
if is(stored[1], ARGV[1]) then
  free(KEYS[1], KEYS[2], KEYS[4], stored[2], ARGV[4], ARGV[3])
  return 1
end
-- A server out of memory refuses this; the caller must know that there is no tombstone.
redis.call('SET', KEYS[3], '', 'PX', ARGV[2])
return 0
