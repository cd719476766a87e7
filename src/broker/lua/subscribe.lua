-- SPDX-License-Identifier: Apache-2.0
-- +records_common
-- Adds subscriptions of a user or group.
-- in   kind, name, session (32 bytes or empty), most subscriptions, n events, events
-- out  "ok" and the record; or "limit"
local kind, name, session, most = arg(), arg(), arg(), tonumber(arg())
local owner = kind .. ':' .. name
local key, n, fields, some = P .. 's:' .. owner, tonumber(arg()), {}, false
for i = 1, n do
    fields[i] = (session == '' and 'p' or 's' .. session) .. arg()
end
local count = call('HLEN', key)
if count + n > most then
    local new = {}
    for _, field in ipairs(fields) do
        if not new[field] and call('HEXISTS', key, field) == 0 then
            new[field], count = true, count + 1
        end
    end
    if count > most then
        return result('limit')
    end
end
local expires = session ~= '' and call('GET', P .. 'sx:' .. session) or '0'
for _, field in ipairs(fields) do
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
