-- SPDX-License-Identifier: Apache-2.0
-- Reads several channels after a number each, merged.
-- in   most messages, most bytes, n ranges, each: channel, after
-- out  1 if cut, the highest number gone, {indexes from 0 of ranges with a gap}, {number, body, ...}
local most, most_bytes, n = tonumber(arg()), tonumber(arg()), tonumber(arg())
local ranges, portion = {}, n <= 4 and most + 1 or 64
for i = 1, n do
    ranges[i] = {channel = arg(), after = tonumber(arg())}
end
local floor, gap_end, has_gap, gaps, out = aged(), 0, {}, {}, {}
local more = 0

local function gap(i, number)
    if number > ranges[i].after then
        gap_end = math.max(gap_end, number)
        if not has_gap[i] then
            has_gap[i] = true
            gaps[#gaps + 1] = i - 1
        end
    end
end

-- Where what is left of a channel begins, and what is gone before that.
local function begin(i)
    local range = ranges[i]
    local key, from = P .. 'h:' .. range.channel, range.after
    gap(i, tonumber(call('GET', P .. 'g:' .. range.channel) or 0))
    if DROPPED > from and call('EXISTS', key) == 0 then
        gap(i, DROPPED)
    end
    if floor > from then
        local old = call('XREVRANGE', key, text(floor), '(' .. text(from), 'COUNT', 1)
        if old[1] then
            gap(i, number_of(old[1][1]))
        end
        from = floor
    end
    local cut = counted(key, call('XLEN', key))
    if cut > 0 then
        gap(i, cut)
        from = math.max(from, cut)
    end
    range.from = from
end

for i = 1, n do
    begin(i)
end
local done = 0
repeat
    local hits, found, bound = {}, {}, nil
    for i, range in ipairs(ranges) do
        local from = math.max(range.from, done)
        local list = call('XRANGE', P .. 'h:' .. range.channel, '(' .. text(from), '+', 'COUNT', portion)
        for _, entry in ipairs(list) do
            local number = number_of(entry[1])
            if not found[number] then
                found[number] = {number = number, body = entry[2][2], ranges = {}}
                hits[#hits + 1] = found[number]
            end
            table.insert(found[number].ranges, i)
        end
        if #list == portion then
            local last = number_of(list[#list][1])
            bound = bound and math.min(bound, last) or last
        end
    end
    table.sort(hits, function(a, b) return a.number < b.number end)
    for _, hit in ipairs(hits) do
        if bound and hit.number > bound then
            break
        end
        local body = hit.body
        if body == '' then
            body = call('GET', P .. 'm:' .. text(hit.number)) or ''
        end
        local expires = tonumber(string.match(body, '^%d+ %d+ (%d+)') or 1)
        if expires ~= 0 and expires <= NOW then
            for _, i in ipairs(hit.ranges) do
                gap(i, hit.number)
            end
        elseif #out > 0 and (#out / 2 >= most or #body > most_bytes) then
            more = 1
            break
        else
            out[#out + 1] = hit.number
            out[#out + 1] = body
            most_bytes = most_bytes - #body
        end
        done = hit.number
    end
    if bound and #out > 0 then
        more = 1
    end
until more == 1 or not bound
table.sort(gaps)
return result(more, gap_end, gaps, out)
