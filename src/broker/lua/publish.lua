-- SPDX-License-Identifier: Apache-2.0
-- Publishes a batch, all or none.
-- in   n items, each: event, data, raw (0 or 1), ttl (seconds, 0: none), key, replace,
--      n channels, each as kind ":" name
-- out  "ok", {for each item its number, and 1 if it is a repeat (0 else)}; or "clash", index
-- A message's body is a line of numbers (raw, published, expires, bytes of event and of data, then
-- the bytes of each channel) and what they count.
local REALM_WIDE = 8 -- a message to more channels goes to all hubs of the realm, once
local SPARE = math.min(math.floor(COUNT / 8), 100) -- messages that a channel may have beyond those kept
local items, fresh = {}, {}

local function replace_key(item)
    return item.replace ~= '' and P .. 'r:' .. redis.sha1hex(net(item.event) .. net(item.replace) .. item.to) or nil
end

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

-- A slot that is on its way has lost some keys already: better fail at once than between two of them.
if ARGV[4] == 's' then
    local keys = {P .. 'log', P .. 'ages', P .. 'days'}
    for _, item in ipairs(items) do
        for _, channel in ipairs(item.channels) do
            keys[#keys + 1] = P .. 'h:' .. channel
        end
        keys[#keys + 1] = item.id
        keys[#keys + 1] = replace_key(item)
    end
    for i = 1, #keys, 1000 do
        call('EXISTS', unpack(keys, i, math.min(i + 999, #keys)))
    end
end

tick()
local floor

-- What is more than the messages kept, or too old, is taken away now and then: readers leave it out by themselves.
local function trim(channel, key, n)
    floor = floor or aged()
    local last = counted(key, n)
    local old = floor > last and call('XREVRANGE', key, text(floor), '-', 'COUNT', 1)
    if old and old[1] then
        last = math.max(last, number_of(old[1][1]))
    end
    if last > 0 then
        call('XTRIM', key, 'MINID', text(last + 1))
        gone(channel, last)
    end
end

local function keep(channel, id, body)
    local key = P .. 'h:' .. channel
    call('XADD', key, id .. '-0', 'm', body)
    local n = call('XLEN', key)
    if n % 8 == 0 or n > COUNT + SPARE then
        trim(channel, key, n)
    end
    if call('PTTL', key) < LIFE - 3600000 then
        call('PEXPIRE', key, LIFE)
    end
end

local function supersede(item)
    local key = replace_key(item)
    local old = call('GET', key)
    if old then
        for _, channel in ipairs(item.channels) do
            call('XDEL', P .. 'h:' .. channel, old .. '-0')
        end
        call('DEL', P .. 'm:' .. old)
    end
    call('SET', key, text(SEQ), 'PX', LIFE)
end

-- The numbers are taken first: should a call below fail (a slot of a Cluster that is on its way), none is given out again.
local out, last = {}, SEQ
for i, item in ipairs(items) do
    local first = item.first or item.same and item.same.number
    if first then
        out[2 * i - 1], out[2 * i] = first, 1
    else
        last = last + 1
        item.number = last
        out[2 * i - 1], out[2 * i] = last, 0
    end
end
if last > SEQ then
    AT = STAMP
    call('HSET', KEYS[1], 'seq', text(last), 'at', AT)
end

for _, item in ipairs(items) do
    if item.number then
        SEQ = item.number
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
return result('ok', out)
