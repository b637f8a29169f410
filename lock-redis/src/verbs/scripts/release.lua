-- Frees a key, if this owner holds it, and gives it to the head of its queue; else leaves a
-- tombstone, so that an acquisition of this owner that is still on its way cannot come to life after
-- its own undo (laws E3, U1). Either way the owner leaves the queue.
--
-- KEYS  1 lock   2 fence   3 tombstone of this owner   4 queue
-- ARGV  1 owner token   2 this waiter in the queue, if it ever listened
--       3 '1' if a request of it may be on its way that nobody waits for: see `follow.rs`
-- Returns 1 if the key was this owner's, 2 if besides foreign lockers compete for it, else 0

local stored = call('MGET', KEYS[1], KEYS[2]) -- another type reads as absent
local held, fence = stored[1], stored[2]
local ours = held and string.sub(held, 1, 22) == ARGV[1]

-- A fence that is a number and no more has no mark: there is nobody else.
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
-- A server out of memory refuses this; the caller must know that there is no tombstone.
call('SET', KEYS[3], '', 'PX', TOMBSTONE)
return 0
