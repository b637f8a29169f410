-- What the scripts share about fences. It stands in front of each of them. Words in capitals stand for
-- times in ms, which `scripts.rs` puts in their place: FENCE_OUTLIVES (its lease), TOMBSTONE (stays),
-- CONFIRM_WINDOW (in which the head of a queue must claim what it was granted), UNBROKEN and BREAK (of a
-- key that is passed on).
--
-- The fence holds the last fencing token. While somebody may stand in the queue, a mark that begins with
-- '*' stands behind it, so that whoever finds none need not look for the queue; `queue.lua` takes the
-- mark apart.

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

-- The largest token is 2^53 - 1: beyond it Lua numbers skip integers. In µs since 1970 that is the year
-- 2255. Nothing fits in beside the time: the configuration epoch of sentinels would help where the clocks
-- of two masters differ by more than a failover takes, and has no room.

-- Reads a fence: its number (0 for none) and its mark, which may be empty; nil and why if it is no
-- token.
local function read(fence, key)
  if not fence then
    if call('EXISTS', key) == 1 then
      return nil, 'it is not a string'
    end
    return 0, '*' -- whoever deleted it may have deleted a mark
  end
  local digits, mark = string.match(fence, '^([1-9]%d*)(.*)$')
  if not digits then
    digits, mark = string.match(fence, '^(0)(%*.*)$') -- where no lock of ours has been
  end
  local number = tonumber(digits)
  if not number or number > 9007199254740991 or mark ~= '' and string.byte(mark) ~= 42 then
    return nil, 'it is not a number from 1 to 2^53 - 1'
  end
  return number, mark
end

-- Returns the next fencing token and how many ms it is ahead of the clock; nil when there is none. A
-- floor that is more than a second ahead is ignored.
--
-- The server's clock in microseconds is the floor: when the counter itself is lost (restart, flush,
-- failover), time has moved on, and tokens still grow.
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

-- Keeps a fencing token beyond a lease of `ttl` ms. It may go when time has moved on, as the next token is
-- then larger anyway. One ahead of the clock (it was set back) is kept until the clock has caught up.
local function keep(fence, token, mark, ttl, ahead)
  call('SET', fence, token .. mark, 'PX', ttl + FENCE_OUTLIVES + ahead)
end
