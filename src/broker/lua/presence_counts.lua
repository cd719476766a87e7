-- SPDX-License-Identifier: Apache-2.0
-- +presence_common
-- in   key of the hubs of all realms (zset by the second in which a lease ends), or empty
-- out  streams, users, hubs
reap(1000000)
local streams, all = 0, arg()
for _, n in ipairs(call('HVALS', P .. 'st')) do
    streams = streams + tonumber(n)
end
local hubs = call('ZCARD', P .. 'hubs')
if all ~= '' then
    call('ZREMRANGEBYSCORE', all, '-inf', SECONDS - 1)
    hubs = math.max(hubs, call('ZCARD', all))
end
return result(streams, call('ZCARD', P .. 'on'), hubs)
