-- SPDX-License-Identifier: Apache-2.0
-- +presence_common
-- A hub stops: its share ends now.
call('ZADD', P .. 'hubs', 0, HUB)
reap(1000000)
return result('ok')
