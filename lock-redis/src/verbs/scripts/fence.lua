-- What the scripts share about fences. `scripts.rs` puts this text in front of each script that
-- uses it, and replaces these names by times in ms:
--   FENCE_OUTLIVES  for which a fence outlives its lease
--   TOMBSTONE       for which a tombstone stays
--   CONFIRM_WINDOW  within which the head of a queue must confirm what it was granted
--   UNBROKEN        for which a key is passed on until a break is due
--   BREAK           for which a break lasts
--
-- The fence holds the last fencing token. While somebody may be in the queue, a mark stands behind
-- the token. It begins with '*'. A call that finds no mark need not look at the queue. `queue.lua`
-- describes the mark.

local call = redis.call

-- Returns the server's time in µs, the same for the whole script.
local micros
local function now()
  if not micros then
    local time = call('TIME')
    micros = time[1] * 1000000 + time[2]
  end
  return micros
end

-- The largest token is 2^53 - 1, because Lua numbers skip integers beyond it. As µs since 1970,
-- that is the year 2255. Nothing fits in beside the time. The configuration epoch of the sentinels
-- would help if the clocks of two masters differ by more than a failover takes, but there is no
-- room for it.

-- Reads a fence. Returns its number (0 for none) and its mark, which may be empty. If it is no
-- token, returns nil and the reason.
local function read(fence, key)
  if not fence then
    if call('EXISTS', key) == 1 then
      return nil, 'it is not a string'
    end
    return 0, '*' -- if it was deleted, it may have had a mark
  end
  local digits, mark = string.match(fence, '^([1-9]%d*)(.*)$')
  if not digits then
    digits, mark = string.match(fence, '^(0)(%*.*)$') -- a mark without a token
  end
  local number = tonumber(digits)
  if not number or number > 9007199254740991 or mark ~= '' and string.byte(mark) ~= 42 then
    return nil, 'it is not a number from 1 to 2^53 - 1'
  end
  return number, mark
end

-- Returns the next fencing token, and how many ms it is ahead of the clock; nil if the numbers are
-- used up. A floor that is more than a second ahead is ignored.
--
-- A token is no smaller than the server's time in µs. If the counter itself is lost (by a restart,
-- a flush or a failover), time has moved on, so tokens still grow.
local function mint(last, floor)
  floor = tonumber(floor) or 0
  if floor > now() + 1000000 then
    floor = 0
  end
  local token = math.max(now(), last + 1, floor)
  local ahead = math.ceil((token - now()) / 1000)
  if token <= 9007199254740991 then
    return string.format('%d', token), ahead
  end
end

-- Stores a fencing token, and keeps it beyond a lease of `ttl` ms. Later it may go, because the
-- time alone then makes the next token larger. If the clock was set back, the token is ahead of it,
-- and is kept until the clock has caught up.
local function keep(fence, token, mark, ttl, ahead)
  call('SET', fence, token .. mark, 'PX', ttl + FENCE_OUTLIVES + ahead)
end
