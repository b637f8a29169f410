-- Passes a key from its owner directly to the next owner (laws E1, E3, F1, U1).
--
-- KEYS  1 lock   2 fence   3 tombstone of this owner   4 queue   5 tombstone of the next owner
-- ARGV  1 owner token   2 next owner token, byte 31 and metadata   3 its ttl in ms
--       4, 5 the two queue entries that the next owner may have
--       6 '1' if a request of this owner may be on its way that nobody waits for: see `follow.rs`
-- Returns {token, number of other waiters}
--   | 1 if the key was freed instead, as after an undo of the next owner
--   | 0 if this owner did not hold the key

local stored = call('MGET', KEYS[1], KEYS[2], KEYS[5])
local held, fence = stored[1], stored[2]
local owner = held and string.sub(held, 1, 22)
local last, found = read(fence, KEYS[2])
local queue = last and found ~= '' and open_queue(found)

if fence and owner == string.sub(ARGV[2], 1, 22) then
  -- This request is a copy, and may be an old one: it must not shorten a renewed lease.
  call('PEXPIRE', KEYS[1], ARGV[3], 'GT')
  return {fence, queue and select(2, queue.mark(KEYS[4])) or 0}
end
if owner ~= ARGV[1] then
  call('SET', KEYS[3], '', 'PX', TOMBSTONE)
  return 0
end
local mark, others = '', 0
if queue then
  if ARGV[4] then
    redis.pcall('ZREM', KEYS[4], ARGV[4], ARGV[5])
  end
  mark, others = queue.mark(KEYS[4], true)
end
local token, ahead
if last and not stored[3] then
  token, ahead = mint(last)
end
queue = queue or open_queue()
local granted = token and queue.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if granted then
  keep(KEYS[2], token, mark, ARGV[3], ahead)
else
  queue.dispatcher().free(KEYS[1], KEYS[2], KEYS[4], fence)
end
if ARGV[6] then
  queue.call('SET', KEYS[3], '', 'PX', TOMBSTONE)
end
return granted and {token, others} or 1
