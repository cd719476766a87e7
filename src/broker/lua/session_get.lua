-- SPDX-License-Identifier: Apache-2.0
-- in   session (32 bytes)
-- out  expires and user; expires 0: there is none
local expires, user = string.match(call('GET', P .. 'se:' .. arg()) or '', '^(%d+) (.*)$')
if not expires or tonumber(expires) <= SECONDS then
    return result(0, '')
end
return result(tonumber(expires), user)
