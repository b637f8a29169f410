-- The node mark, which shows that a node of a quorum remembers its locks. A snapshot can restore
-- the mark but not the leases that were granted after it. So the mark names the server's process,
-- and no longer counts once the server was restarted. The script that grants checks the mark,
-- because a check by the client could come before the restart.
--
-- The mark is: process  when it is settled, in ms  when it was last saved, in s

local function process()
  return string.match(call('INFO', 'server'), 'run_id:(%x+)')
end

-- Returns for how many more ms the node grants nothing: for `settle` ms after it is first seen
-- without its mark.
--
-- Asking for the process takes longer than everything else. It need not be asked for if the mark
-- names the process that the caller is connected to, and nothing was saved since. A process counts
-- its start as a save, so after two seconds no later process can show the same time.
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
