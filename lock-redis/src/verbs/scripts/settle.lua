-- Marks a node of a new quorum as one that remembers, or reports whether it is marked.
--
-- KEYS  1 mark
-- ARGV  1 the process to mark, or '' to look only; another process may have forgotten
-- Returns 1 if the node is marked, else its process

if call('EXISTS', KEYS[1]) == 1 then
  return 1
end
local ours = process()
if ARGV[1] ~= ours then
  return ours
end
call('SET', KEYS[1], ours .. ' 0 0')
return 1
