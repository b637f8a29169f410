-- Frees a key if this owner holds it, and grants it to the head of its queue. Otherwise leaves a
-- tombstone, so that an acquisition of this owner that is still on its way cannot take effect after
-- its own undo (laws E3, U1). In either case the owner leaves the queue.
--
-- KEYS  1 lock   2 fence   3 tombstone of this owner   4 queue
-- ARGV  1 owner token   2 the queue entry of this owner, if it ever listened
--       3 '1' if a request of this owner may be on its way that nobody waits for: see `follow.rs`
-- Returns 0 if this owner did not hold the key, 1 if it did, 2 if it did and foreign lockers
-- compete

local stored = call('MGET', KEYS[1], KEYS[2]) -- another type reads as absent
local held, fence = stored[1], stored[2]
local ours = held and string.sub(held, 1, 22) == ARGV[1]

-- A fence that is only a number has no mark, so nobody waits.
if ours and tonumber(fence) and not ARGV[2] then
  return call('DEL', KEYS[1])
end
local queue = open_queue(fence and string.match(fence, '%*.*$'))
if ARGV[2] then
  queue.call('ZREM', KEYS[4], ARGV[2])
end
if ours then
  local contested = queue.dispatcher().free(KEYS[1], KEYS[2], KEYS[4], fence)
  if ARGV[3] then
    queue.call('SET', KEYS[3], '', 'PX', TOMBSTONE)
  end
  return contested and 2 or 1
end
-- A server out of memory refuses this. The caller must learn that there is no tombstone.
call('SET', KEYS[3], '', 'PX', TOMBSTONE)
return 0
