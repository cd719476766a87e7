# SPDX-License-Identifier: Apache-2.0
"""Events in ``manage.py runserver``, without Apache: for development only, one process, nothing survives a restart.

``SSE_ADMIN_URL = "runserver:"`` and ``path("", include("mod_sse.devserver.urls"))``. The same in-process hub answers in tests
that use ``mod_sse.test.EventsTestMixin``.
"""
