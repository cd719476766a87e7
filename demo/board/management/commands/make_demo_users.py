# SPDX-License-Identifier: Apache-2.0
"""Two users and a group with fresh passwords, which are printed: alice (an editor and a superuser) and bob."""

import secrets

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand

WORDS = "amber birch cedar delta ember fjord grove harbor indigo juniper kelp lagoon maple north onyx pine quartz river slate tide".split()


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args, **options):
        editors, _ = Group.objects.get_or_create(name="editors")
        editors.subscribe("editors:desk")
        for name in ("alice", "bob"):
            user, _ = get_user_model().objects.get_or_create(username=name)
            user.is_staff = user.is_superuser = name == "alice"
            password = "-".join(secrets.choice(WORDS) for _ in range(3)) + f"-{secrets.randbelow(90) + 10}"
            user.set_password(password)
            user.save()
            self.stdout.write(f"{name} {password}")
        get_user_model().objects.get(username="alice").groups.add(editors)
