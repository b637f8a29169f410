-- Marks a node of a new quorum as one that remembers, or tells whether it is marked.
--
-- KEYS  1 mark
-- ARGV  1 '1' to mark it
-- Returns 1 if it is marked, else 0

if call('EXISTS', KEYS[1]) == 1 then
  return 1
end
if ARGV[1] == '1' then
  call('SET', KEYS[1], process() .. ' 0 0')
  return 1
end
return 0
