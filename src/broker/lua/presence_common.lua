-- SPDX-License-Identifier: Apache-2.0
-- What the presence scripts share; comes after common.lua.
-- hubs: zset of hubs by the end of their lease (ms); o:HUB hash of its users' streams; oc: hubs of
-- a user; os: since when; on: zset of online users for pages; st: streams of each hub.
local function online(hub, user, streams)
    local new = call('HSET', P .. 'o:' .. hub, user, streams) == 1
    if new and call('HINCRBY', P .. 'oc', user, 1) == 1 then
        call('ZADD', P .. 'on', 0, user)
        call('HSET', P .. 'os', user, text(SECONDS))
        control('p1' .. user)
    end
end

local function offline(hub, user)
    if call('HDEL', P .. 'o:' .. hub, user) == 1 and call('HINCRBY', P .. 'oc', user, -1) <= 0 then
        call('HDEL', P .. 'oc', user)
        call('HDEL', P .. 'os', user)
        call('ZREM', P .. 'on', user)
        control('p0' .. user)
    end
end

-- Hubs whose lease is over are no more; at most `budget` users of them in one go.
local function reap(budget)
    for _, hub in ipairs(call('ZRANGEBYSCORE', P .. 'hubs', '-inf', NOW)) do
        local users = call('HKEYS', P .. 'o:' .. hub)
        for _, user in ipairs(users) do
            if budget == 0 then
                return
            end
            budget = budget - 1
            offline(hub, user)
        end
        call('HDEL', P .. 'st', hub)
        call('ZREM', P .. 'hubs', hub)
    end
end
