-- SPDX-License-Identifier: Apache-2.0
-- +records_common
-- Adds subscriptions of a user or group.
-- in   kind, name, session (32 bytes or empty), most subscriptions, n events, events
-- out  "ok" and the record; or "limit"
local kind, name, session, most = arg(), arg(), arg(), tonumber(arg())
local owner = kind .. ':' .. name
local key, n, some = P .. 's:' .. owner, tonumber(arg()), false
if call('HLEN', key) + n > most then
    return result('limit')
end
local expires = session ~= '' and call('GET', P .. 'sx:' .. session) or '0'
for _ = 1, n do
    local event = arg()
    local field = session == '' and 'p' .. event or 's' .. session .. event
    some = call('HSETNX', key, field, text(SEQ) .. ' ' .. expires) == 1 or some
end
if session ~= '' and n > 0 then
    call('SADD', P .. 'ss:' .. session, owner)
    if expires ~= '0' then
        call('ZADD', P .. 'sz', expires, session)
    end
end
if some then
    changed(kind, name)
end
return result('ok', record(kind, name))
