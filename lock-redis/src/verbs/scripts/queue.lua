-- What the scripts share about those who stand in the queue for a key. Most calls find nobody, so it is
-- one function that makes the others.
--
-- A waiter is described by one string:
--   owner token (22)  'q' for the queue or 'h' for hints (1)  id (16)  ttl in ms  ':'  channel
-- with ';' instead of ':' for a sharded channel, in a cluster. All waiters of one client have the same
-- channel for a key.
--
-- The mark behind the fence is, with times in ms:
--   '*'  until when foreign lockers compete, if any did
--   ','  since when the key was passed on without a break  ','  when the break ends, if there is one
--   and after a grant by the queue:  ';'  its window  ';'  the channel of its waiter  and, each
--   behind a byte 30, the channels of clients that have let such a grant lapse since the last release

-- Makes what most calls need, of the mark behind the fence. The rest is made by `queue.dispatcher`, as
-- every closure takes time.
local function open_queue(mark)
  mark = mark or ''
  local queue = {}

  -- The queue's own commands never keep a key from being granted or released.
  function queue.call(...)
    local answer = redis.pcall(...)
    if type(answer) == 'table' and answer.err then
      return false
    end
    return answer
  end

  -- Counts who stands in the queue, and returns the mark that says so: behind a grant that was passed on, or
  -- one of a key that was free.
  function queue.mark(key, passed_on)
    local count = tonumber(redis.pcall('ZCARD', key)) or 0
    if passed_on and count > 0 then
      local first, second = string.byte(mark, 2, 3)
      if first == 44 and second ~= 44 then -- the usual: '*,' and 13 digits
        local same = string.sub(mark, 1, 15)
        return queue.grant and same .. queue.grant or same, count
      end
    end
    local seen = #mark > 1 and queue.dispatcher().contested() or ''
    if count == 0 then
      return seen ~= '' and '*' .. seen or '', 0
    elseif not passed_on then
      return '*' .. seen, count
    end
    local since = string.match(mark, '^%*%d*,(%d+)') or string.format('%d', now() / 1000)
    return '*' .. seen .. ',' .. since .. (queue.grant or ''), count
  end

  function queue.dispatcher()
    local dispatcher = {}
    local most_passed_over = 1000 -- by one call; the next one goes on
    -- In ms. Clients that are paused cost those behind them two seconds per release at most: 1000, 500, 250,
    -- 125 and 62. Six of them would cost 6 s if each had a whole window (measured with stopped processes).
    local shortest_window = 60
    local since, break_until, window, channels =
      string.match(mark, '^%*%d*,?(%d*),?(%d*);?(%d*);?(.*)$')
    since, break_until, window = tonumber(since), tonumber(break_until), tonumber(window)

    local function channel_of(waiter)
      return string.match(waiter, '^%d+[:;](.*)$', 40)
    end

    -- Tells a waiter something, and returns how many have heard it.
    local function publish(waiter, message)
      local kind, channel = string.match(waiter, '^%d+([:;])(.*)$', 40)
      local command = kind == ';' and 'SPUBLISH' or 'PUBLISH'
      return kind and queue.call(command, channel, string.sub(waiter, 24, 39) .. message) or 0
    end

    -- Returns until when foreign lockers are taken to compete, if one was seen within the last second.
    -- They can neither queue nor be told, so the key is given to nobody then, and all ask for it.
    function dispatcher.contested()
      local seen = string.match(mark, '^%*(%d+)')
      return seen and tonumber(seen) > now() / 1000 and seen or nil
    end

    -- Notes that a foreign locker was seen.
    function dispatcher.contest(fence, stored)
      local millis = math.floor(now() / 1000)
      local seen = dispatcher.contested()
      if seen and tonumber(seen) > millis + 500 then
        return -- noted a moment ago
      end
      mark = string.format('*%d', millis + 1000)
      if stored then
        queue.call('SET', fence, string.match(stored, '^%d+') .. mark, 'KEEPTTL')
      else
        queue.call('SET', fence, '0' .. mark, 'PX', 60000, 'NX')
      end
    end

    -- Makes the break that is due, and tells the head of the queue when it ends. Nobody is told by a head
    -- that is gone, and without its mark ours would not keep to the break: then there is none this time.
    local function is_due(fence, stored, first)
      local millis = now() / 1000
      if not since or millis < since + UNBROKEN then
        return false
      end
      if publish(first, ' ~BREAK') == 0 then
        return false
      end
      local ends = string.format('*,,%d', millis + BREAK)
      return queue.call('SET', fence, string.match(stored, '^%d+') .. ends, 'KEEPTTL')
    end

    -- Returns how many ms of a break are left, if there is one.
    function dispatcher.break_left()
      local left = break_until and break_until - math.floor(now() / 1000) or 0
      return left > 0 and left or nil
    end

    -- Returns how long the next grant by the queue lasts until it must be claimed, and the channels of
    -- clients to pass over. A free key whose last grant was the queue's was not claimed in time, so its
    -- client is paused or cut off: it is passed over until somebody has released, and the next one has
    -- half the time. The client that asks is alive.
    local function lapses(condition, asking)
      local passed = {}
      if condition ~= 'NX' or not window then
        return CONFIRM_WINDOW, passed
      end
      for channel in string.gmatch(channels, '[^\30]+') do
        passed[channel] = true
      end
      if asking then
        passed[channel_of(asking)] = nil
      end
      return math.floor(window / 2), passed
    end

    -- Gives the key to the head of its queue until it claims it, and tells it. One whose connection is
    -- gone is passed over. The condition is 'NX' for a free key, 'XX' for one to pass on. Returns
    -- 'granted', or why nobody was: 'asking' is first itself, the key is 'taken', there are only
    -- 'listeners', the queue is 'empty' or 'contested', there is a 'break', or there are too many who are
    -- gone for one call ('more').
    function dispatcher.serve(lock, fence, key, last, condition, asking, stored)
      if dispatcher.contested() then
        return 'contested'
      end
      local first = queue.call('ZRANGE', key, 0, 0)
      if not first or not first[1] then
        return 'empty'
      elseif condition == 'NX' and dispatcher.break_left() or condition == 'XX' and is_due(fence, stored, first[1]) then
        return 'break'
      elseif first[1] == asking then
        return 'asking'
      end
      if condition == 'NX' and call('EXISTS', lock) == 1 then
        return 'taken' -- by another type, which reads as absent
      end
      local time, passed = lapses(condition, asking)
      if time < shortest_window then
        return 'empty' -- for whoever asks, and so is alive
      end
      local lapsed = {}
      for channel in pairs(passed) do
        lapsed[#lapsed + 1] = channel
      end
      local token, ahead
      local gone, count, result = {}, 0, nil
      local function step_out()
        if #gone > 0 then
          queue.call('ZREM', key, unpack(gone))
        end
        gone = {}
      end
      repeat
        for _, waiter in ipairs(first) do
          if waiter == asking then
            result = 'asking'
            break
          elseif string.sub(waiter, 23, 23) ~= 'q' then
            result = 'listeners'
            break
          end
          gone[#gone + 1], count = waiter, count + 1
          local channel = channel_of(waiter)
          if channel and not passed[channel] then
            if not token then
              token, ahead = mint(last)
            end
            -- A server out of memory lets a script write that has removed something before.
            step_out()
            local ttl = string.match(waiter, '^%d+', 40)
            if not token then
              result = 'empty'
              break
            elseif publish(waiter, ' granted') > 0 then
              local owner = string.sub(waiter, 1, 22) .. '\31'
              if not queue.call('SET', lock, owner, 'PX', math.min(ttl, time), condition) then
                result = 'empty'
                break
              end
              lapsed[#lapsed + 1] = channel
              queue.grant = string.format(';%d;%s', time, table.concat(lapsed, '\30'))
              queue.token = token
              local mark = queue.mark(key, true)
              keep(fence, token, mark, ttl, ahead)
              return 'granted'
            end
            passed[channel] = true -- nobody listens there any more
          end
        end
        if not result then
          first = queue.call('ZRANGE', key, #gone, #gone + 99)
          if not first or not first[1] then
            result = 'empty'
          elseif count >= most_passed_over then
            result = 'more'
          end
        end
      until result
      step_out()
      if result == 'more' and publish(first[1], '') == 0 then
        -- An attempt goes on from here; whoever came last is the likeliest to be alive.
        local newest = queue.call('ZRANGE', key, -1, -1)
        publish(newest and newest[1] or '', '')
      end
      return result
    end

    -- Frees a key that its owner gives back: for the head of the queue, or for whoever comes. Returns
    -- whether foreign lockers compete for it.
    function dispatcher.free(lock, fence, key, stored)
      local last, found = read(stored, fence)
      local served = last and found ~= '' and dispatcher.serve(lock, fence, key, last, 'XX', nil, stored)
      if served == 'granted' then
        return
      end
      call('DEL', lock)
      if served == 'listeners' then
        local some = queue.call('ZRANGE', key, 0, most_passed_over - 1) or {}
        for _, waiter in ipairs(some) do
          publish(waiter, '')
        end
        queue.call('ZREM', key, unpack(some))
      elseif served == 'empty' and (window or since) then
        -- A later lease that ends by itself is no lapse of the queue's grant.
        queue.call('SET', fence, string.match(stored, '^%d+'), 'KEEPTTL')
      end
      if served ~= 'contested' then
        return false
      end
      local first = queue.call('ZRANGE', key, 0, 0)
      if first and first[1] then
        publish(first[1], ' ~BREAK') -- it may not know that it has to ask
      end
      return true
    end

    return dispatcher
  end

  return queue
end
