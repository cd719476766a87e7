-- SPDX-License-Identifier: Apache-2.0
-- +records_common
-- in   group, replace (1: its members are exactly those added), n added, users, n removed, users
local group, replace = arg(), arg() == '1'
local added, removed, touched = {}, {}, {}
for i = 1, tonumber(arg()) do
    added[i] = arg()
    touched[added[i]] = true
end
for i = 1, tonumber(arg()) do
    removed[i] = arg()
end
if replace then
    for _, user in ipairs(call('SMEMBERS', P .. 'gm:' .. group)) do
        if not touched[user] then
            removed[#removed + 1] = user
        end
    end
end
for _, user in ipairs(removed) do
    if leave(user, group) then
        changed('u', user)
    end
end
for _, user in ipairs(added) do
    if join(user, group) then
        changed('u', user)
    end
end
return result('ok')
