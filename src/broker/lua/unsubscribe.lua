-- SPDX-License-Identifier: Apache-2.0
-- +records_common
-- Takes subscriptions back; without session both kinds.
-- in   kind, name, session (32 bytes or empty), n events, events
-- out  "ok" and the record
local kind, name, session = arg(), arg(), arg()
local key, some = P .. 's:' .. kind .. ':' .. name, false
local events = {}
for _ = 1, tonumber(arg()) do
    events[arg()] = true
end
for _, field in ipairs(call('HKEYS', key)) do
    local lasting = string.sub(field, 1, 1) == 'p'
    local event = string.sub(field, lasting and 2 or 34)
    if events[event] and (session == '' or not lasting and string.sub(field, 2, 33) == session) then
        some = call('HDEL', key, field) == 1 or some
    end
end
if some then
    changed(kind, name)
end
return result('ok', record(kind, name))
