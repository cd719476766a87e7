-- SPDX-License-Identifier: Apache-2.0
-- in   n, each: user, epoch, number, delivered at (UNIX ms)
for _ = 1, tonumber(arg()) do
    local user = arg()
    call('HSET', P .. 't', user, arg() .. ' ' .. arg() .. ' ' .. arg())
end
return result('ok')
