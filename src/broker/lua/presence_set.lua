-- SPDX-License-Identifier: Apache-2.0
-- +presence_common
-- +records_common
-- A hub's share, or changes of it.
-- in   lease (ms), streams of the realm on this hub (-1: as they were), n, each: user, streams
--      (-1: offline)
-- out  1 if the hub was known, 0 if its lease had run out: its whole share must be told again
local lease, streams = tonumber(arg()), arg()
local known = call('ZSCORE', P .. 'hubs', HUB) and 1 or 0
call('ZADD', P .. 'hubs', NOW + lease, HUB)
if streams ~= '-1' then
    call('HSET', P .. 'st', HUB, streams)
end
for _ = 1, tonumber(arg()) do
    local user, n = arg(), arg()
    if n == '-1' then
        offline(HUB, user)
    else
        online(HUB, user, n)
    end
end
reap(5000)
for _, session in ipairs(call('ZRANGEBYSCORE', P .. 'sz', '-inf', SECONDS, 'LIMIT', 0, 20)) do
    end_session(session)
end
return result(known)
