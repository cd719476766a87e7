-- SPDX-License-Identifier: Apache-2.0
-- What every script of the Redis broker begins with; the hub and the Python package put it before
-- the script's own file. All keys of a realm begin with P, which carries the realm as hash tag.
--
-- in   KEYS[1]  P .. "meta"
--      ARGV[1]  an epoch (16 hex digits) for a realm that has none yet
--      ARGV[2]  messages kept per channel; ARGV[3] seconds they are kept
--      ARGV[4]  "p": PUBLISH, "s": SPUBLISH;  ARGV[5] the hub's id; then the script's own
-- out  {epoch, last number, stamp of the last number, ...}
--
-- keys  meta     epoch, seq, at (stamp of seq), tick, dropped
--       log      stream of <number>-<stamp>: which message had a number
--       ages, days   zsets: numbers by the time before which they were given out
--       h:CHANNEL    stream of messages, ids <number>-0; g:CHANNEL  the highest number that is gone
--       m:NUMBER     a message to several channels; k:, r: keys and the latest to be replaced
--       s:OWNER subscriptions; ss: sx: sz by session; mg:USER gm:GROUP memberships; b:OWNER blocks
--       t        cursors of users; se:SESSION sessions, su:USER a user's
--       hubs, o:HUB, oc, os, on, st  presence
local call = redis.call
local P = string.sub(KEYS[1], 1, -5)
local COUNT, AGE = tonumber(ARGV[2]), tonumber(ARGV[3])
local PUBLISH = ARGV[4] == 's' and 'SPUBLISH' or 'PUBLISH'
local HUB = ARGV[5]
local time = call('TIME')
local STAMP = string.format('%s%06d', time[1], tonumber(time[2]))
local SECONDS = tonumber(time[1])
local NOW = SECONDS * 1000 + math.floor(tonumber(time[2]) / 1000)
local KEEP = COUNT > 0 and AGE > 0
local KEYAGE = (AGE > 0 and AGE or 3600) * 1000
local LIFE = KEYAGE + 86400000
local meta = call('HMGET', KEYS[1], 'epoch', 'seq', 'at', 'tick', 'dropped')
local EPOCH, SEQ, AT, TICK = meta[1], tonumber(meta[2] or 0), meta[3] or '', tonumber(meta[4] or 0)
local DROPPED = tonumber(meta[5] or 0)
if not EPOCH then
    EPOCH = ARGV[1]
    call('HSET', KEYS[1], 'epoch', EPOCH)
end

local at = 5
local function arg()
    at = at + 1
    return ARGV[at]
end

local function text(n)
    return string.format('%.0f', n)
end

local function number_of(id)
    return tonumber(string.match(id, '^%d+'))
end

local function net(s)
    return #s .. ':' .. s
end

local function publish(channel, payload)
    call(PUBLISH, P .. 'p:' .. channel, payload)
end

-- To every hub, whatever its streams carry.
local function control(payload)
    call('PUBLISH', P .. 'ctl', payload)
end

local function result(...)
    return {EPOCH, SEQ, AT, ...}
end

-- ---- age ----

-- All numbers up to this one are older than history is kept.
local function aged()
    local found = call('ZREVRANGEBYSCORE', P .. 'ages', NOW - KEYAGE, '-inf', 'LIMIT', 0, 1)
    return tonumber(found[1] or 0)
end

local function mark(key, limit)
    call('ZADD', key, 'NX', NOW, text(SEQ))
    local old = call('ZREVRANGEBYSCORE', key, limit, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if old[1] then
        call('ZREMRANGEBYSCORE', key, '-inf', '(' .. old[2])
    end
    return tonumber(old[1] or 0)
end

-- Before numbers are given out: notes the time of those that were.
local function tick()
    local bucket = math.max(100, math.floor(KEYAGE / 1024))
    local now = math.floor(NOW / bucket)
    if now == TICK then
        return
    end
    mark(P .. 'ages', NOW - KEYAGE)
    local slow = math.floor(LIFE / 64)
    if math.floor(NOW / slow) ~= math.floor(TICK * bucket / slow) then
        DROPPED = math.max(DROPPED, mark(P .. 'days', NOW - LIFE))
        call('PEXPIRE', P .. 'log', 2 * LIFE)
    end
    TICK = now
    call('HSET', KEYS[1], 'tick', text(TICK), 'dropped', text(DROPPED))
end

local function gone(channel, number)
    local known = tonumber(call('GET', P .. 'g:' .. channel) or 0)
    if number > known then
        call('SET', P .. 'g:' .. channel, text(number), 'PX', LIFE)
    end
end

-- ---- records ----

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
