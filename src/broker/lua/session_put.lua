-- SPDX-License-Identifier: Apache-2.0
-- in   session (32 bytes), user, expires (UNIX seconds)
local session, user, expires = arg(), arg(), tonumber(arg())
local key = P .. 'se:' .. session
local before = string.match(call('GET', key) or '', '^%d+ (.*)$')
if before and before ~= user then
    call('ZREM', P .. 'su:' .. before, session)
end
call('SET', key, text(expires) .. ' ' .. user, 'EXAT', text(math.max(expires, SECONDS + 1)))
-- The user's sessions, so that they can be forgotten with it.
local all = P .. 'su:' .. user
call('ZADD', all, text(expires), session)
call('ZREMRANGEBYSCORE', all, '-inf', SECONDS - 1)
local last = call('ZREVRANGE', all, 0, 0, 'WITHSCORES')
if last[2] then
    call('EXPIREAT', all, text(tonumber(last[2]) + 1))
end
return result('ok')
