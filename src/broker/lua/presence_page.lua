-- SPDX-License-Identifier: Apache-2.0
-- +presence_common
-- in   group (empty: all), after, limit
-- out  1 if there are more, users in byte order
local group, after, limit = arg(), arg(), tonumber(arg())
reap(1000000)
local found
if group == '' then
    local from = after == '' and '-' or '(' .. after
    found = call('ZRANGEBYLEX', P .. 'on', from, '+', 'LIMIT', 0, limit + 1)
else
    found = {}
    for _, user in ipairs(call('SMEMBERS', P .. 'gm:' .. group)) do
        if user > after and call('ZSCORE', P .. 'on', user) then
            found[#found + 1] = user
        end
    end
    table.sort(found)
end
local more = #found > limit and 1 or 0
while #found > limit do
    table.remove(found)
end
return result(more, found)
