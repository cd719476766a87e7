-- SPDX-License-Identifier: Apache-2.0
-- +records_common
-- in   1: with the records of users' groups (0: without), n owners, each: kind, name
-- out  a record each
local full, out = arg() == '1', {}
for i = 1, tonumber(arg()) do
    local kind, name = arg(), arg()
    out[i] = full and full_record(kind, name) or record(kind, name)
end
return result(unpack(out))
