-- What the scripts share that give a key to somebody; it stands in front of each of them.
--
-- A waiter in line is described by one string:
--   owner token (22)  'q' for the queue or 'h' for hints (1)  id (16)  ttl in ms  ':'  channel

local LARGEST = 9007199254740991 -- 2^53 - 1: beyond it Lua numbers skip integers
local LISTENERS = 4503599627370496 -- 2^52 µs after those who queue

local function now() -- in µs
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Tells what is wrong with the last fencing token, if anything.
local function unfit(last)
  if last and not (string.find(last, '^[1-9]%d*$') and #last <= 16 and tonumber(last) <= LARGEST) then
    return 'it is not a number from 1 to 2^53 - 1'
  end
end

-- Returns the next fencing token and how many ms it is ahead of the clock; nil when there is none.
--
-- The server's clock in microseconds is the floor: when the counter itself is lost (restart, flush,
-- failover), time has moved on, and tokens still grow.
local function mint(last)
  local time = now()
  local token = time
  if last and tonumber(last) >= time then
    token = tonumber(last) + 1
  end
  if token <= LARGEST then
    return string.format('%.0f', token), math.ceil((token - time) / 1000)
  end
end

-- Keeps a fencing token for `ms`. One ahead of the clock (it was set back) is kept until the clock
-- has caught up.
local function keep(fence, token, ahead, ms)
  redis.call('SET', fence, token, 'PX', string.format('%.0f', ms + ahead))
end

-- The line's own commands never keep a key from being granted or released.
local function line_call(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    return false
  end
  return answer
end

-- Gives the key to the head of its queue until it claims it, and tells it. One whose connection is
-- gone is passed over. Returns 'granted', or why nobody was: 'asking' is first itself, there are only
-- 'listeners', the line is 'empty'.
local function serve(lock, fence, line, last, window, outlives, asking, only_if_free)
  while true do
    local first = line_call('ZRANGE', line, 0, 0)
    first = first and first[1]
    if not first then
      return 'empty'
    elseif first == asking then
      return 'asking'
    elseif string.sub(first, 23, 23) ~= 'q' then
      return 'listeners'
    end
    line_call('ZREM', line, first)
    local token, ahead = mint(last)
    if not token then
      return 'empty'
    end
    last = token
    local ttl, channel = string.match(first, '^(%d+):(.*)$', 40)
    local told = line_call('PUBLISH', channel, string.sub(first, 24, 39) .. ' ' .. token)
    if told and told > 0 then
      local px = math.min(tonumber(ttl), tonumber(window))
      local given
      if only_if_free then
        given = line_call('SET', lock, string.sub(first, 1, 22), 'PX', px, 'NX')
      else
        given = line_call('SET', lock, string.sub(first, 1, 22), 'PX', px)
      end
      if not given then
        return 'empty'
      end
      keep(fence, token, ahead, ttl + outlives)
      return 'granted'
    end
  end
end

-- Frees a key that its owner gives back: to the head of the queue, or to whoever comes.
local function free(lock, fence, line, last, window, outlives)
  local served = not unfit(last) and serve(lock, fence, line, last, window, outlives)
  if served == 'granted' then
    return
  end
  redis.call('DEL', lock)
  if served == 'listeners' then
    for _, waiter in ipairs(line_call('ZRANGE', line, 0, -1) or {}) do
      line_call('PUBLISH', string.match(waiter, '^%d+:(.*)$', 40), string.sub(waiter, 24, 39))
    end
    redis.call('DEL', line)
  end
end

local function is(held, owner)
  return held and string.sub(held, 1, #owner) == owner
end
