-- SPDX-License-Identifier: Apache-2.0
-- Publishes a batch, all or none.
-- in   n items, each: event, data, raw (0 or 1), ttl (seconds, 0: none), key, replace,
--      n channels, each as kind ":" name
-- out  "ok", {for each item its number, and 1 if it is a repeat (0 else)}; or "clash", index
-- A message's body is a line of numbers (raw, published, expires, bytes of event and of data, then
-- the bytes of each channel) and what they count.
local REALM_WIDE = 8 -- a message to more channels goes to all hubs of the realm, once
local items, fresh = {}, {}
for i = 1, tonumber(arg()) do
    local item = {event = arg(), data = arg(), raw = arg(), ttl = tonumber(arg()), key = arg(), replace = arg()}
    local seen, channels = {}, {}
    for _ = 1, tonumber(arg()) do
        local channel = arg()
        if not seen[channel] then
            seen[channel] = true
            channels[#channels + 1] = channel
        end
    end
    item.channels = channels
    if item.key ~= '' or item.replace ~= '' then
        local sorted = {}
        for k, channel in ipairs(channels) do
            sorted[k] = net(channel)
        end
        table.sort(sorted)
        item.to = table.concat(sorted)
    end
    if item.key ~= '' then
        item.id = P .. 'k:' .. redis.sha1hex(net(item.key) .. item.to)
        item.content = redis.sha1hex(net(item.event) .. net(item.data) .. net(item.replace) .. item.raw .. item.ttl)
        local known = call('GET', item.id)
        if known then
            local number, content = string.match(known, '^(%d+) (%x+)$')
            if content ~= item.content then
                return result('clash', i)
            end
            item.first = tonumber(number)
        elseif fresh[item.id] then
            if fresh[item.id].content ~= item.content then
                return result('clash', i)
            end
            item.same = fresh[item.id]
        else
            fresh[item.id] = item
        end
    end
    items[i] = item
end

tick()
local floor = KEEP and aged() or 0

local function keep(channel, id, body)
    local key, last = P .. 'h:' .. channel, 0
    call('XADD', key, id .. '-0', 'm', body)
    local over = call('XLEN', key) - COUNT
    while over > 0 do
        local old = call('XRANGE', key, '-', '+', 'COUNT', math.min(over, 100))
        last = number_of(old[#old][1])
        call('XTRIM', key, 'MINID', text(last + 1))
        over = over - #old
    end
    if floor > 0 then
        local old = call('XREVRANGE', key, text(floor), '-', 'COUNT', 1)
        if old[1] then
            last = math.max(last, number_of(old[1][1]))
            call('XTRIM', key, 'MINID', text(last + 1))
        end
    end
    if last > 0 then
        gone(channel, last)
    end
    call('PEXPIRE', key, LIFE)
end

local function supersede(item)
    local key = P .. 'r:' .. redis.sha1hex(net(item.event) .. net(item.replace) .. item.to)
    local old = call('GET', key)
    if old then
        for _, channel in ipairs(item.channels) do
            call('XDEL', P .. 'h:' .. channel, old .. '-0')
        end
        call('DEL', P .. 'm:' .. old)
    end
    call('SET', key, text(SEQ), 'PX', LIFE)
end

local out = {}
for i, item in ipairs(items) do
    local first = item.first or item.same and item.same.number
    if first then
        out[2 * i - 1], out[2 * i] = first, 1
    else
        SEQ = SEQ + 1
        AT = STAMP
        item.number = SEQ
        out[2 * i - 1], out[2 * i] = SEQ, 0
        local id, n = text(SEQ), #item.channels
        local head = {item.raw, text(NOW), item.ttl > 0 and text(NOW + item.ttl * 1000) or '0', #item.event, #item.data}
        for _, channel in ipairs(item.channels) do
            head[#head + 1] = #channel
        end
        local body = table.concat(head, ' ') .. '\n' .. item.event .. item.data .. table.concat(item.channels)
        if KEEP then
            if item.replace ~= '' and n > 0 then
                supersede(item)
            end
            if n > 1 then
                call('SET', P .. 'm:' .. id, body, 'PX', KEYAGE + 10000)
            end
            for _, channel in ipairs(item.channels) do
                keep(channel, id, n == 1 and body or '')
            end
        else
            for _, channel in ipairs(item.channels) do
                gone(channel, SEQ)
            end
        end
        if item.id then
            call('SET', item.id, id .. ' ' .. item.content, 'PX', KEYAGE)
        end
        call('XADD', P .. 'log', 'MAXLEN', '~', 65536, id .. '-' .. STAMP, 't', '')
        local payload = 'm' .. EPOCH .. ' ' .. id .. ' ' .. AT .. '\n' .. body
        if n > REALM_WIDE then
            publish('*', payload)
        else
            for _, channel in ipairs(item.channels) do
                publish(channel, payload)
            end
        end
    end
end
call('HSET', KEYS[1], 'seq', text(SEQ), 'at', AT)
return result('ok', out)
