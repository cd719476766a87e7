-- SPDX-License-Identifier: Apache-2.0
-- +records_common
-- What was last delivered to a user, and how much waits: each message once.
-- in   user
-- out  epoch (empty: nothing ever), number, delivered at, pending
local user, most = arg(), 100000
local epoch, number, delivered = string.match(call('HGET', P .. 't', user) or '', '^(%x+) (%d+) (%d+)$')
local floor, seen, pending = aged(), {}, 0

local function count(channel, after)
    local key = P .. 'h:' .. channel
    local from = math.max(after, floor, counted(key, call('XLEN', key)))
    while pending < most do
        local list = call('XRANGE', key, '(' .. text(from), '+', 'COUNT', 100)
        for _, entry in ipairs(list) do
            from = number_of(entry[1])
            if not seen[from] then
                seen[from] = true
                pending = pending + 1
            end
        end
        if #list < 100 then
            return
        end
    end
end

local last = tonumber(number or 0)
count('u:' .. user, last)
for _, sub in ipairs(subscriptions('u:' .. user)) do
    count('e:' .. sub[1], math.max(last, tonumber(sub[3])))
end
local groups = call('HGETALL', P .. 'mg:' .. user)
for i = 1, #groups, 2 do
    local start = math.max(last, tonumber(groups[i + 1]))
    count('g:' .. groups[i], start)
    for _, sub in ipairs(subscriptions('g:' .. groups[i])) do
        count('e:' .. sub[1], math.max(start, tonumber(sub[3])))
    end
end
return result(epoch or '', last, tonumber(delivered or 0), pending)
