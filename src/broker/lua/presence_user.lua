-- SPDX-License-Identifier: Apache-2.0
-- +presence_common
-- in   user
-- out  1 if online, streams, since (UNIX seconds)
local user = arg()
reap(1000000)
local since = call('HGET', P .. 'os', user)
if not since then
    return result(0, 0, 0)
end
local streams = 0
for _, hub in ipairs(call('ZRANGE', P .. 'hubs', 0, -1)) do
    streams = streams + tonumber(call('HGET', P .. 'o:' .. hub, user) or 0)
end
return result(1, streams, tonumber(since))
