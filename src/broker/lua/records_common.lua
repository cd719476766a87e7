-- SPDX-License-Identifier: Apache-2.0
-- What the scripts of users and groups share: subscriptions, memberships, sessions; comes after common.lua.

-- A subscription's field: "p" event, or "s" session (32 bytes) event; its value: start, expiry.
local function subscriptions(owner)
    local key, list = P .. 's:' .. owner, {}
    local all = call('HGETALL', key)
    for i = 1, #all, 2 do
        local field = all[i]
        local start, expires = string.match(all[i + 1], '^(%d+) (%d+)$')
        local session, event = '', string.sub(field, 2)
        if string.sub(field, 1, 1) == 's' then
            session, event = string.sub(field, 2, 33), string.sub(field, 34)
        end
        if expires == '0' or tonumber(expires) > SECONDS then
            list[#list + 1] = {event, session, start, expires}
        end
    end
    table.sort(list, function(a, b)
        if a[1] ~= b[1] then
            return a[1] < b[1]
        end
        return a[2] < b[2]
    end)
    return list
end

-- kind, name, blocked until, subscriptions, memberships: a run of netstrings.
local function record(kind, name, groups)
    local owner = kind .. ':' .. name
    local subs = subscriptions(owner)
    local out = {net(kind), net(name), net(call('GET', P .. 'b:' .. owner) or '0'), net(tostring(#subs))}
    for _, sub in ipairs(subs) do
        for i = 1, 4 do
            out[#out + 1] = net(sub[i])
        end
    end
    local all = kind == 'u' and call('HGETALL', P .. 'mg:' .. name) or {}
    local names = {}
    for i = 1, #all, 2 do
        names[#names + 1] = {all[i], all[i + 1]}
    end
    table.sort(names, function(a, b) return a[1] < b[1] end)
    out[#out + 1] = net(tostring(#names))
    for _, group in ipairs(names) do
        out[#out + 1] = net(group[1])
        out[#out + 1] = net(group[2])
        if groups then
            groups[#groups + 1] = group[1]
        end
    end
    return table.concat(out)
end

-- A user's record and those of its groups, in the order of its memberships.
local function full_record(kind, name)
    local groups = {}
    local out = {record(kind, name, groups)}
    for _, group in ipairs(groups) do
        out[#out + 1] = record('g', group)
    end
    return table.concat(out)
end

local function changed(kind, name)
    publish(kind .. ':' .. name, 'c' .. EPOCH .. ' ' .. text(SEQ) .. ' ' .. AT .. '\n' .. full_record(kind, name))
end

local function leave(user, group)
    local was = call('HDEL', P .. 'mg:' .. user, group)
    call('SREM', P .. 'gm:' .. group, user)
    return was == 1
end

local function join(user, group)
    local new = call('HSETNX', P .. 'mg:' .. user, group, text(SEQ))
    call('SADD', P .. 'gm:' .. group, user)
    return new == 1
end

-- Takes a session's subscriptions away.
local function end_session(session)
    for _, owner in ipairs(call('SMEMBERS', P .. 'ss:' .. session)) do
        local some = false
        for _, field in ipairs(call('HKEYS', P .. 's:' .. owner)) do
            if string.sub(field, 1, 33) == 's' .. session then
                some = call('HDEL', P .. 's:' .. owner, field) == 1 or some
            end
        end
        if some then
            changed(string.sub(owner, 1, 1), string.sub(owner, 3))
        end
    end
    call('DEL', P .. 'ss:' .. session, P .. 'sx:' .. session)
    call('ZREM', P .. 'sz', session)
end
