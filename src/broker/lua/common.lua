-- SPDX-License-Identifier: Apache-2.0
-- What every script of the Redis broker begins with; the hub and the Python package put it before
-- the script's own file. All keys of a realm begin with P, which carries the realm as hash tag.
--
-- in   KEYS[1]  P .. "meta"
--      ARGV[1]  an epoch (16 hex digits) for a realm that has none yet
--      ARGV[2]  messages kept per channel; ARGV[3] seconds they are kept
--      ARGV[4]  "p": one server, "s": a Cluster, in which SPUBLISH keeps to the shard where the server has it;
--      ARGV[5]  the hub's id; then the script's own
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
local PUBLISH = ARGV[4] == 's' and (redis.REDIS_VERSION_NUM or 0) >= 0x70000 and 'SPUBLISH' or 'PUBLISH'
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

-- All of a channel's stream up to this one is more than the messages kept; `n`: its length.
local function counted(key, n)
    local last = 0
    while n > COUNT do
        local old = call('XRANGE', key, last > 0 and '(' .. text(last) or '-', '+', 'COUNT', math.min(n - COUNT, 100))
        last = number_of(old[#old][1])
        n = n - #old
    end
    return last
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
