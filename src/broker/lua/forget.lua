-- SPDX-License-Identifier: Apache-2.0
-- +records_common
-- Forgets a user, a group or an event's history.
-- in   kind, name
local kind, name = arg(), arg()
local channel = kind .. ':' .. name
local last = call('XREVRANGE', P .. 'h:' .. channel, '+', '-', 'COUNT', 1)
if last[1] then
    gone(channel, number_of(last[1][1]))
end
call('DEL', P .. 'h:' .. channel)
if kind == 'e' then
    return result('ok')
end
call('DEL', P .. 's:' .. channel, P .. 'b:' .. channel)
if kind == 'u' then
    for _, group in ipairs(call('HKEYS', P .. 'mg:' .. name)) do
        leave(name, group)
    end
    call('HDEL', P .. 't', name)
    for _, session in ipairs(call('ZRANGE', P .. 'su:' .. name, 0, -1)) do
        call('DEL', P .. 'se:' .. session)
    end
    call('DEL', P .. 'su:' .. name)
else
    for _, user in ipairs(call('SMEMBERS', P .. 'gm:' .. name)) do
        if leave(user, name) then
            changed('u', user)
        end
    end
end
changed(kind, name)
return result('ok')
