-- Passes a key from its owner straight on to the next (laws E1, E3, F1, U1).
--
-- KEYS  1 lock   2 fence   3 tombstone of this owner   4 queue   5 tombstone of the next owner
-- ARGV  1 owner token   2 next owner token, byte 31 and metadata   3 its ttl in ms
--       4, 5 the next owner in the queue, in whatever way it may stand there, if at all
--       6 '1' if a request of this owner may be on its way that nobody waits for: see `follow.rs`
-- Returns {token, number of others in the queue} | 1 if the next owner was undone | 0 if nothing was held

local stored = call('MGET', KEYS[1], KEYS[2], KEYS[5])
local held, fence = stored[1], stored[2]
local owner = held and string.sub(held, 1, 22)
local last, found = read(fence, KEYS[2])
local queue = last and found ~= '' and open_queue(found)

if fence and owner == string.sub(ARGV[2], 1, 22) then
  -- This request has been sent again, perhaps long ago: it must not cut a renewed lease short.
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
