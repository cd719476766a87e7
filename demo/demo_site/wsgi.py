# SPDX-License-Identifier: Apache-2.0
"""What mod_wsgi loads. Its daemon process does not see httpd's environment: the state directory is passed as home + /.."""

import os
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_site.settings")
# The project is installed as STATE/app, see script/demo.
os.environ.setdefault("DEMO_STATE", str(Path(__file__).resolve().parent.parent.parent))

from django.core.wsgi import get_wsgi_application  # noqa: E402

application = get_wsgi_application()
