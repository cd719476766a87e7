-- SPDX-License-Identifier: Apache-2.0
-- in   session (32 bytes), user, expires (UNIX seconds)
local session, user, expires = arg(), arg(), arg()
call('SET', P .. 'se:' .. session, expires .. ' ' .. user, 'EXAT', math.max(tonumber(expires), SECONDS + 1))
return result('ok')
