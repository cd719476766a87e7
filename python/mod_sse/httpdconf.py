# SPDX-License-Identifier: Apache-2.0
"""What httpd has to be told of this site: the file for ``SSEDjangoConfig``, and the directives around it.

Used by ``manage.py sse_config`` and the system checks. Reads only settings and model definitions, never the database.
"""

import os
from importlib import import_module
from typing import Any, Dict, List, Optional, Tuple
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import Group
from django.core.cache import caches
from django.core.exceptions import FieldDoesNotExist
from django.db import models, router

from .conf import sse_settings

ENGINES = "django.contrib.sessions.backends."
PK_TYPES = (
    (models.UUIDField, "uuid"),
    (models.IntegerField, "int"),
    (models.CharField, "str"),
    (models.TextField, "str"),
)
UNREADABLE_CACHES = ("django.core.cache.backends.locmem.LocMemCache", "django.core.cache.backends.dummy.DummyCache")


def session_store() -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore


def engine_name() -> Optional[str]:
    """``db``, ``cache``…; the engine of a subclass is its Django parent's; None for one made from scratch."""
    for cls in session_store().__mro__:
        if cls.__module__.startswith(ENGINES) and cls.__module__ != ENGINES + "base":
            return str(cls.__module__[len(ENGINES) :])
    return None


def pk_type(model: Any) -> Optional[str]:
    field = model._meta.pk
    while field.remote_field is not None:  # multi-table inheritance: user_ptr
        field = field.target_field
    for kind, name in PK_TYPES:
        if isinstance(field, kind):
            return name
    return None


def column(model: Any, name: str) -> Optional[str]:
    """The column of a field of the model's own table; None if there is no such field."""
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return str(field.column) if getattr(field, "column", None) and field.model._meta.concrete_model is model._meta.concrete_model else None


def user_table() -> Any:
    """The class whose table has the password: the user model, or the parent it inherits it from."""
    model = get_user_model()
    return model._meta.get_field("password").model


def describe() -> Dict[str, Any]:
    """The members of SSEDjangoConfig's JSON."""
    store, model = session_store(), user_table()
    engine = engine_name()
    found: Dict[str, Any] = {
        "django": django.get_version(),
        "user_table": model._meta.db_table,
        "user_pk": model._meta.pk.column,
        "user_pk_type": pk_type(model),
        "user_password": column(model, "password"),
        "user_is_active": column(model, "is_active"),
        "group_table": Group._meta.db_table,
        "group_pk": Group._meta.pk.column,
        "group_name": Group._meta.get_field("name").column,
        "backends": list(settings.AUTHENTICATION_BACKENDS),
        "cookie_name": settings.SESSION_COOKIE_NAME,
        "cookie_age": settings.SESSION_COOKIE_AGE,
        "use_tz": settings.USE_TZ,
        "time_zone": settings.TIME_ZONE,
        "legacy_sha1": django.VERSION < (4, 0),
        "fallback_hash": django.VERSION >= (4, 1, 8),
        "membership_table": None,
    }
    try:
        groups = model._meta.get_field("groups")
    except FieldDoesNotExist:
        groups = None
    if groups is not None and groups.remote_field.model is Group:
        found["membership_table"] = groups.m2m_db_table()
        found["membership_user"] = groups.m2m_column_name()
        found["membership_group"] = groups.m2m_reverse_name()
    if engine in ("db", "cached_db"):
        found["session_table"] = store.get_model_class()._meta.db_table
    if engine in ("db", "cached_db", "file"):
        found["session_salt"] = store().key_salt
    if engine in ("cache", "cached_db"):
        found[engine + "_prefix"] = caches[settings.SESSION_CACHE_ALIAS].make_key(store.cache_key_prefix)
    return found


def problems() -> List[Tuple[str, str]]:
    """What of this site httpd cannot follow: (sentence, hint)."""
    found = []
    model = get_user_model()
    engine = engine_name()
    if engine is None:
        found.append(
            (
                f"httpd cannot read sessions of SESSION_ENGINE {settings.SESSION_ENGINE!r}.",
                "Set SSE_MIRROR_SESSIONS = True and use `SSESession hub` in httpd.",
            )
        )
    if engine in ("cache", "cached_db"):
        backend = settings.CACHES.get(settings.SESSION_CACHE_ALIAS, {}).get("BACKEND", "")
        if backend in UNREADABLE_CACHES:
            found.append(
                (
                    f"Sessions are in the cache {settings.SESSION_CACHE_ALIAS!r}, which lives inside one process ({backend}).",
                    "Use a Redis cache, or another SESSION_ENGINE.",
                )
            )
    method = getattr(model, "get_session_auth_hash", None)
    if method is not None and method is not AbstractBaseUser.get_session_auth_hash:
        found.append(
            (
                f"{model.__name__}.get_session_auth_hash() is overridden: httpd computes Django's own and will refuse these sessions.",
                "Set SSE_MIRROR_SESSIONS = True and use `SSESession hub` in httpd.",
            )
        )
    if pk_type(model) is None:
        found.append((f"The primary key of {model.__name__} is none of integer, UUID and text.", "Use `SSESession hub` in httpd."))
    if engine in ("db", "cached_db") and router.db_for_read(model) != router.db_for_read(session_store().get_model_class()):
        found.append(("Users and sessions are in different databases; mod_dbd opens one.", "Use `SSESession hub` in httpd."))
    return found


def database() -> Tuple[str, str]:
    """mod_dbd's driver and parameters for the users' database (without the password)."""
    given = settings.DATABASES[router.db_for_read(get_user_model())]
    engine = given["ENGINE"].rsplit(".", 1)[-1]
    if engine == "sqlite3":
        return "sqlite3", os.path.abspath(str(given["NAME"]))
    names = {"postgresql": ("pgsql", "dbname"), "postgresql_psycopg2": ("pgsql", "dbname"), "mysql": ("mysql", "dbname")}
    driver, dbname = names.get(engine, (engine, "dbname"))
    pairs = [("host", given.get("HOST")), ("port", given.get("PORT")), (dbname, given.get("NAME")), ("user", given.get("USER"))]
    limit = "connect_timeout=2 tcp_user_timeout=3000 options='-c statement_timeout=3000'" if driver == "pgsql" else ""
    return driver, " ".join([f"{k}={v}" for k, v in pairs if v] + ([limit] if limit else []))


def realm_directive() -> List[str]:
    return [] if sse_settings.REALM == "default" else [f"    SSERealm {sse_settings.REALM}"]


def admin_directives() -> List[str]:
    """What answers ``SSE_ADMIN_URL``."""
    url = urlsplit(str(sse_settings.ADMIN_URL))
    if url.scheme == "unix":
        return ["# Its group (httpd's, unless a mode and a group follow) is who may publish.", f'SSEAdminSocket "{url.path}"', ""]
    if url.scheme not in ("http", "https"):
        return []
    lines = [f'<Location "{url.path or "/"}">', "    SetHandler sse-admin", *realm_directive()]
    if sse_settings.ADMIN_KEY_FILE:
        lines.append(f'    SSEAdminKeyFile "{sse_settings.ADMIN_KEY_FILE}"')
    return [*lines, "    Require local", "</Location>", ""]


def session_argument(engine: str) -> str:
    """What follows the engine in ``SSESession``."""
    if engine == "file":
        return " " + str(getattr(settings, "SESSION_FILE_PATH", None) or "/tmp")
    if engine in ("cache", "cached_db"):
        location = settings.CACHES.get(settings.SESSION_CACHE_ALIAS, {}).get("LOCATION", "")
        return " " + str(location[0] if isinstance(location, (list, tuple)) else location.split(",")[0])
    return ""


def directives(config_path: str, key_path: str) -> str:
    """A stretch of httpd.conf for this site, as a start."""
    engine = "hub" if sse_settings.MIRROR_SESSIONS else engine_name() or "hub"
    lines = admin_directives()
    if engine != "hub":
        driver, params = database()
        if driver != "sqlite3":
            lines.append("# The password, if one is needed, is yours to add; a user that may only read the tables below will do.")
        lines += [f"DBDriver {driver}", f'DBDParams "{params}"']
        if driver == "sqlite3":  # without it a look-up fails while Django writes
            lines.append('DBDInitSQL "PRAGMA busy_timeout = 5000"')
        lines.append("")
    lines += [f'<Location "{urlsplit(str(sse_settings.STREAM_URL)).path or "/"}">', "    SetHandler sse-stream", *realm_directive()]
    lines += [f"    SSESession {engine}{session_argument(engine)}", f'    SSEDjangoConfig "{config_path}"']
    if engine != "hub":
        lines.append(f'    SSESecretKeyFile "{key_path}"')
    lines += ["    Require all granted", "</Location>"]
    return "\n".join(lines)


def secret_keys() -> str:
    """The lines of ``SSESecretKeyFile``."""
    keys = [settings.SECRET_KEY, *getattr(settings, "SECRET_KEY_FALLBACKS", ())]
    return "".join((key.decode() if isinstance(key, bytes) else str(key)) + "\n" for key in keys)
