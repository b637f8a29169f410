-- What says that a node of a quorum remembers. A snapshot may bring back the mark and not the leases
-- that came after it, so the mark names the server's process: a server that was restarted has none. It is
-- looked for in the same script as the grant, because a check by the client could come before the restart
-- that it should find.
--
-- The mark is: process  when it is settled, in ms  when it was last saved, in s

local function process()
  return string.match(call('INFO', 'server'), 'run_id:(%x+)')
end

-- Returns for how many ms the node is left out: `settle` from when it is first seen without its mark.
--
-- To ask for the process takes longer than all the rest. It is the one that the mark names if that is
-- the one the caller is connected to, and nothing was saved since: a process counts its start as a
-- save, so once two seconds have gone by, no later one shows the same time.
local function left_out(key, mark, settle, connected)
  local saved, millis = call('LASTSAVE'), math.floor(now() / 1000)
  local marked, settled, seen = string.match(mark or '', '^(%x+) (%d+) (%d+)$')
  if marked ~= connected or tonumber(seen) ~= saved then
    local ours = process()
    if marked ~= ours then
      settled = string.format('%d', millis + settle + 1)
    end
    saved = millis >= (saved + 2) * 1000 and saved or 0
    if marked ~= ours or tonumber(seen) ~= saved then
      call('SET', key, string.format('%s %s %d', ours, settled, saved))
    end
  end
  return tonumber(settled) - millis
end
