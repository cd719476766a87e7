-- SPDX-License-Identifier: Apache-2.0
-- +records_common
-- Tells all hubs to end streams; blocks a user; ends a session.
-- in   kind (u, g, s), name, reason, blocked until (UNIX seconds, 0: not)
local kind, name, reason, until_ = arg(), arg(), arg(), arg()
if kind == 's' then
    end_session(name)
    call('DEL', P .. 'se:' .. name)
elseif until_ ~= '0' then
    local owner = kind .. ':' .. name
    call('SET', P .. 'b:' .. owner, until_, 'EXAT', math.max(tonumber(until_), SECONDS + 1))
    changed(kind, name)
end
control('d' .. net(HUB) .. net(kind) .. net(name) .. net(reason) .. net(text(SECONDS)))
return result('ok')
