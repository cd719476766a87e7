-- SPDX-License-Identifier: Apache-2.0
-- Is what a hub knows still true? If numbers that it has seen were lost, or given to other
-- messages, a new epoch begins.
-- in   the epoch it knows, its last number and that number's stamp (empty: do not compare)
local epoch, number, stamp = arg(), tonumber(arg()), arg()
local lost = epoch == EPOCH and SEQ < number
if epoch == EPOCH and not lost and stamp ~= '' then
    local entry = call('XRANGE', P .. 'log', text(number), text(number), 'COUNT', 1)
    lost = not entry[1] or entry[1][1] ~= text(number) .. '-' .. stamp
end
if lost then
    EPOCH, SEQ, AT = ARGV[1], math.max(SEQ, number) + 1, STAMP
    call('XADD', P .. 'log', 'MAXLEN', '~', 65536, text(SEQ) .. '-' .. STAMP, 't', '')
    call('HSET', KEYS[1], 'epoch', EPOCH, 'seq', text(SEQ), 'at', AT)
end
return result('ok')
