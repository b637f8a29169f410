-- What the scripts share about the queue of a key. Most calls find no waiter, so the functions that
-- serve the queue are made only when they are needed.
--
-- The queue is a sorted set by the time of arrival in µs. Waiters for hints stand behind all who
-- queue. An entry describes its waiter by one string:
--   owner token (22)  'q' for the queue or 'h' for hints (1)  id (16)  ttl in ms  ':'  channel
-- with ';' instead of ':' for a sharded channel, in a cluster. All waiters of one client have the
-- same channel for a key.
--
-- A message to a waiter is its id, and behind it
--   nothing if the key may be free
--   ' granted' if the queue has granted it the key
--   ' ~' and a number of ms after which the key is free
--
-- The mark behind the fence is, with times in ms:
--   '*'  until when foreign lockers compete, if one was seen
--   ','  since when the key has been passed on without a break  ','  when the break ends, if there
--   is one
--   and after a grant by the queue:  ';'  its window  ';'  the channel of its waiter  and, each
--   behind a byte 30, the channels of clients that have let such a grant lapse since the last
--   release

-- Returns what most calls need: the functions about the mark behind the fence. The others are made
-- by `queue.dispatcher`, because every closure takes time.
local function open_queue(mark)
  mark = mark or ''
  local queue = {}

  -- Runs a command for the queue. Returns false if it fails, because the queue must never keep a
  -- key from being granted or released.
  function queue.call(...)
    local answer = redis.pcall(...)
    if type(answer) == 'table' and answer.err then
      return false
    end
    return answer
  end

  -- Counts the waiters, and returns the mark for a grant, and the count. `passed_on` says that the
  -- key goes from one owner directly to the next; otherwise it was free.
  function queue.mark(key, passed_on)
    local count = tonumber(redis.pcall('ZCARD', key)) or 0
    if passed_on and count > 0 then
      local first, second = string.byte(mark, 2, 3)
      if first == 44 and second ~= 44 then -- the usual case: '*,' and 13 digits
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

  -- Returns the functions that serve the queue.
  function queue.dispatcher()
    local dispatcher = {}
    local most_passed_over = 1000 -- entries that one call passes over; the next call goes on
    -- In ms. The window is halved for each paused client: 1000, 500, 250, 125, 62. So paused
    -- clients delay those behind them by at most two seconds per release. With a whole window each,
    -- six of them would take 6 s.
    local shortest_window = 60
    local since, break_until, window, channels =
      string.match(mark, '^%*%d*,?(%d*),?(%d*);?(%d*);?(.*)$')
    since, break_until, window = tonumber(since), tonumber(break_until), tonumber(window)

    local function channel_of(waiter)
      return string.match(waiter, '^%d+[:;](.*)$', 40)
    end

    -- Sends a message to a waiter, and returns how many connections received it.
    local function publish(waiter, message)
      local kind, channel = string.match(waiter, '^%d+([:;])(.*)$', 40)
      local command = kind == ';' and 'SPUBLISH' or 'PUBLISH'
      return kind and queue.call(command, channel, string.sub(waiter, 24, 39) .. message) or 0
    end

    -- Returns until when foreign lockers compete, if one was seen within the last second. They can
    -- neither queue nor be notified, so the queue grants the key to nobody then, and all ask.
    function dispatcher.contested()
      local seen = string.match(mark, '^%*(%d+)')
      return seen and tonumber(seen) > now() / 1000 and seen or nil
    end

    -- Records that a foreign locker was seen.
    function dispatcher.contest(fence, stored)
      local millis = math.floor(now() / 1000)
      local seen = dispatcher.contested()
      if seen and tonumber(seen) > millis + 500 then
        return -- recorded a moment ago
      end
      mark = string.format('*%d', millis + 1000)
      if stored then
        queue.call('SET', fence, string.match(stored, '^%d+') .. mark, 'KEEPTTL')
      else
        queue.call('SET', fence, '0' .. mark, 'PX', 60000, 'NX')
      end
    end

    -- Begins a break if one is due, and reports its end to the head of the queue. There is no break
    -- this time if the head is gone, because nobody would be woken at its end. There is none either
    -- if the mark cannot be written, because our own clients would not respect it.
    local function begin_break(fence, stored, first)
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

    -- Returns how many ms of a break are left; nil if there is none.
    function dispatcher.break_left()
      local left = break_until and break_until - math.floor(now() / 1000) or 0
      return left > 0 and left or nil
    end

    -- Returns the window of the next grant by the queue, and the channels of clients to pass over.
    --
    -- If the key is free and its last grant was the queue's, that grant was not confirmed in time:
    -- its client is paused or cut off. All waiters of that client are passed over until the next
    -- release, and the window is halved. The client that asks is alive, so it is not passed over.
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

    -- Grants the key to the head of its queue for one window, and notifies it. Waiters whose
    -- connection is gone are passed over. The condition is 'NX' for a free key, and 'XX' for a key
    -- that its owner releases. `asking` is the entry of the caller, if it has one. Returns
    --   'granted'
    --   'asking'     the caller is the head itself
    --   'taken'      the key has data of another type
    --   'listeners'  the queue has only waiters for hints
    --   'empty'      nobody can be granted the key
    --   'contested'  foreign lockers compete for the key
    --   'break'      the key is free for a moment, for foreign lockers
    --   'more'       more waiters are gone than one call passes over
    function dispatcher.serve(lock, fence, key, last, condition, asking, stored)
      if dispatcher.contested() then
        return 'contested'
      end
      local first = queue.call('ZRANGE', key, 0, 0)
      if not first or not first[1] then
        return 'empty'
      elseif condition == 'NX' and dispatcher.break_left()
          or condition == 'XX' and begin_break(fence, stored, first[1]) then
        return 'break'
      elseif first[1] == asking then
        return 'asking'
      end
      if condition == 'NX' and call('EXISTS', lock) == 1 then
        return 'taken' -- another type reads as absent
      end
      local time, passed = lapses(condition, asking)
      if time < shortest_window then
        return 'empty' -- the caller gets the key, because it is certainly alive
      end
      local lapsed = {}
      for channel in pairs(passed) do
        lapsed[#lapsed + 1] = channel
      end
      local token, ahead
      local gone, count, result = {}, 0, nil
      local function remove_gone()
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
            -- A server out of memory lets a script write only after the script has removed
            -- something.
            remove_gone()
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
            passed[channel] = true -- its client is gone
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
      remove_gone()
      if result == 'more' and publish(first[1], '') == 0 then
        -- The next attempt goes on from here. The newest waiter is the likeliest to be alive.
        local newest = queue.call('ZRANGE', key, -1, -1)
        publish(newest and newest[1] or '', '')
      end
      return result
    end

    -- Frees a key that its owner releases: grants it to the head of the queue, or deletes it.
    -- Returns whether foreign lockers compete for it.
    function dispatcher.free(lock, fence, key, stored)
      local last, found = read(stored, fence)
      local served = last and found ~= ''
        and dispatcher.serve(lock, fence, key, last, 'XX', nil, stored)
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
        -- Forget the queue's last grant: a later lease that expires is not its lapse.
        queue.call('SET', fence, string.match(stored, '^%d+'), 'KEEPTTL')
      end
      if served ~= 'contested' then
        return false
      end
      local first = queue.call('ZRANGE', key, 0, 0)
      if first and first[1] then
        publish(first[1], ' ~BREAK') -- it may not have heard that it must ask
      end
      return true
    end

    return dispatcher
  end

  return queue
end
