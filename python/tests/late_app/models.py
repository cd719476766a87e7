# SPDX-License-Identifier: Apache-2.0
"""An app that stands before mod_sse: its models can import Events all the same."""

from django.dispatch import Events

assert Events.publish
