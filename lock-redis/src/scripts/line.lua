-- What the scripts share about those who stand in line for a key. Most calls find nobody, so it is
-- one function that makes the others.
--
-- A waiter is described by one string:
--   owner token (22)  'q' for the queue or 'h' for hints (1)  id (16)  ttl in ms  ':'  channel
-- with ';' instead of ':' for a sharded channel, in a cluster.

local function open_door()
  local door = {}

  -- Tells a waiter something, and returns how many have heard it.
  local function tell(waiter, news)
    local kind, channel = string.match(waiter, '^%d+([:;])(.*)$', 40)
    local publish = kind == ';' and 'SPUBLISH' or 'PUBLISH'
    return kind and door.call(publish, channel, string.sub(waiter, 24, 39) .. news) or 0
  end

  -- The line's own commands never keep a key from being granted or released.
  function door.call(...)
    local answer = redis.pcall(...)
    if type(answer) == 'table' and answer.err then
      return false
    end
    return answer
  end

  -- Counts who stands in line, and returns the mark that says so.
  function door.mark(line)
    local count = door.call('ZCARD', line) or 0
    return count > 0 and '*' or '', count
  end

  -- Gives the key to the head of its queue until it claims it, and tells it. One whose connection is
  -- gone is passed over. The condition is 'NX' for a free key, 'XX' for one to pass on. Returns
  -- 'granted', or why nobody was: 'asking' is first itself, the key is 'taken', there are only
  -- 'listeners', the line is 'empty'.
  function door.serve(lock, fence, line, last, condition, asking)
    while true do
      local first = door.call('ZRANGE', line, 0, 0)
      first = first and first[1]
      if not first then
        return 'empty'
      elseif first == asking then
        return 'asking'
      elseif string.sub(first, 23, 23) ~= 'q' then
        return 'listeners'
      end
      if condition == 'NX' and call('EXISTS', lock) == 1 then
        return 'taken' -- by another type, which reads as absent
      end
      door.call('ZREM', line, first)
      local token, ahead = mint(last)
      if not token then
        return 'empty'
      end
      last = tonumber(token)
      local ttl = string.match(first, '^%d+', 40)
      if ttl and tell(first, ' ' .. token) > 0 then
        local window = math.min(ttl, CLAIM_WINDOW)
        if not door.call('SET', lock, string.sub(first, 1, 22), 'PX', window, condition) then
          return 'empty'
        end
        keep(fence, token, door.mark(line), ttl, ahead)
        return 'granted'
      end
    end
  end

  -- Frees a key that its owner gives back: for the head of the queue, or for whoever comes.
  function door.free(lock, fence, line, stored)
    local last, marked = read(stored, fence)
    local served = last and marked and door.serve(lock, fence, line, last, 'XX')
    if served == 'granted' then
      return
    end
    call('DEL', lock)
    if served == 'listeners' then
      for _, waiter in ipairs(door.call('ZRANGE', line, 0, -1) or {}) do
        tell(waiter, '')
      end
      call('DEL', line)
    end
  end

  return door
end
