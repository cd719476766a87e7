#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Django's command line for the demo site. `script/demo` sets the environment that settings.py reads."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_site.settings")
    execute_from_command_line(sys.argv)
