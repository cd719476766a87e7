# SPDX-License-Identifier: Apache-2.0
"""The signals that events travel by.

``event_published(sender=Events, message=Message)``
    Sent for each publish and broadcast, in the process that publishes, after the transaction has committed. The transport
    to the hub is one receiver (its return value is the message's id); connect your own beside it.

``user_online(sender=User, user_id=str)`` and ``user_offline(sender=User, user_id=str)``
    Sent in a process that runs ``manage.py sse_listen``. ``mod_sse.presence.get_user(user_id)`` fetches the user.

``hub_changed(sender=None)``
    Sent by ``sse_listen`` when it has (re)connected: a hub may be new, whatever only Django knows should be told again.
"""

from django.dispatch import Signal

event_published = Signal()
user_online = Signal()
user_offline = Signal()
hub_changed = Signal()
