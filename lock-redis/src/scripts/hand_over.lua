-- Passes a key from its owner straight on to the next (laws E1, E3, F1, U1).
--
-- KEYS  1 lock   2 fence   3 tombstone of this owner   4 line   5 tombstone of the next owner
-- ARGV  1 owner token   2 ms for which the tombstone stays   3 ms for which a fence outlives its lease
--       4 ms in which the head of the queue must claim the key   5 next owner token   6 its metadata
--       7 its ttl in ms   8 the next owner in line, or ''
-- Returns {'granted', token, number of others in line} | {'refused'} | {'lost'}

local stored = redis.call('MGET', KEYS[1], KEYS[2], KEYS[5])
local held, last, undone = stored[1], stored[2], stored[3]

if is(held, ARGV[5]) and last then -- this request has been sent again
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
  return {'granted', last, line_call('ZCARD', KEYS[4]) or 0}
end
if not is(held, ARGV[1]) then
  redis.call('SET', KEYS[3], '', 'PX', ARGV[2])
  return {'lost'}
end
if ARGV[8] ~= '' then
  line_call('ZREM', KEYS[4], ARGV[8])
end
local token, ahead
if not undone and not unfit(last) then
  token, ahead = mint(last)
end
if not token or not line_call('SET', KEYS[1], ARGV[5] .. ARGV[6], 'PX', ARGV[7]) then
  free(KEYS[1], KEYS[2], KEYS[4], last, ARGV[4], ARGV[3])
  return {'refused'}
end
keep(KEYS[2], token, ahead, ARGV[7] + ARGV[3])
return {'granted', token, line_call('ZCARD', KEYS[4]) or 0}
