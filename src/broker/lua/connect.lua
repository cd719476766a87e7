-- SPDX-License-Identifier: Apache-2.0
-- +records_common
-- A stream is about to open.
-- in   user (empty: anonymous), session (32 bytes or empty), its expiry (0: unknown),
--      n groups (-1: not known), groups
-- out  the user's record and its groups' (empty for anonymous)
local user, session, expires, n = arg(), arg(), arg(), tonumber(arg())
if user == '' then
    return result('')
end
local some = false
if n >= 0 then
    local wanted = {}
    for _ = 1, n do
        wanted[arg()] = true
    end
    for _, group in ipairs(call('HKEYS', P .. 'mg:' .. user)) do
        if not wanted[group] then
            some = leave(user, group) or some
        end
    end
    for group in pairs(wanted) do
        some = join(user, group) or some
    end
end
if session ~= '' and expires ~= '0' then
    call('SET', P .. 'sx:' .. session, expires, 'EXAT', math.max(tonumber(expires), SECONDS + 1))
    local key = P .. 's:u:' .. user
    for _, field in ipairs(call('HKEYS', key)) do
        if string.sub(field, 1, 33) == 's' .. session then
            local start = string.match(call('HGET', key, field), '^%d+')
            call('HSET', key, field, start .. ' ' .. expires)
            call('ZADD', P .. 'sz', expires, session)
        end
    end
end
if some then
    changed('u', user)
end
return result(full_record('u', user))
