-- What says that a node of a quorum remembers. A snapshot may bring back the mark and not the leases
-- that came after it, so the mark names the server's process: whoever was restarted has none.

local function process()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end
