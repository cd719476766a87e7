-- SPDX-License-Identifier: Apache-2.0
-- in   group
-- out  its members
return result(call('SMEMBERS', P .. 'gm:' .. arg()))
