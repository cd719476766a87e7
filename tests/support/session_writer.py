# SPDX-License-Identifier: Apache-2.0
"""Sessions as real Django writes them, in every store: run as a program with the Django version that the test wants.

    session_writer.py STATE prepare      tables, users, groups; prints SSEDjangoConfig's JSON
    session_writer.py STATE log-in       logs alice in, once in every store; prints {store: cookie}
    session_writer.py STATE log-in-briefly   the same for BRIEF seconds, where the store can end a session; prints {store: [cookie, end]}
    session_writer.py STATE log-out      logs her out of all of them (reads what log-in printed)

STATE holds site.json: {"redis": port, "memcached": port, "database": DATABASES' entry, "use_tz": …}. The stores are named in STORES; each is a SESSION_ENGINE and the
cache that it uses.
"""

import datetime
import json
import os
import pathlib
import sys
import time

import django
from django.conf import settings

SECRET = "the secret of these sessions"
BRIEF = 10
B = "django.contrib.sessions.backends."
C = "django.core.cache.backends."


def stores(state, ports):
    """name -> (engine, CACHES entry, other settings, SSESession of httpd)"""
    redis, memcached = "redis://127.0.0.1:%d" % ports["redis"], "127.0.0.1:%d" % ports["memcached"]

    def django_redis(database, **options):
        return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "%s/%d" % (redis, database), "OPTIONS": options}

    found = {
        "db": (B + "db", None, {}, "db"),
        "signed_cookies": (B + "signed_cookies", None, {}, "signed_cookies"),
        "file": (B + "file", None, {}, "file %s/sessions" % state),
        "file-cache": (B + "cache", {"BACKEND": C + "filebased.FileBasedCache", "LOCATION": "%s/cache" % state}, {}, "cache file://%s/cache" % state),
        "db-cache": (B + "cache", {"BACKEND": C + "db.DatabaseCache", "LOCATION": "cache_table"}, {}, "cache db:cache_table"),
        "pymemcache": (B + "cache", {"BACKEND": C + "memcached.PyMemcacheCache", "LOCATION": memcached}, {}, "cache memcached://" + memcached),
        "pylibmc": (
            B + "cached_db",
            {"BACKEND": C + "memcached.PyLibMCCache", "LOCATION": memcached, "KEY_PREFIX": "lib"},
            {},
            "cached_db memcached://%s?prefix=lib" % memcached,
        ),
    }
    if django.VERSION < (5, 0):
        found["pickled"] = (B + "db", None, {"SESSION_SERIALIZER": "django.contrib.sessions.serializers.PickleSerializer"}, "db")
    if django.VERSION >= (4, 0):
        found["redis"] = (B + "cache", {"BACKEND": C + "redis.RedisCache", "LOCATION": redis}, {}, "cache " + redis)
        found["redis-cached_db"] = (
            B + "cached_db",
            {"BACKEND": C + "redis.RedisCache", "LOCATION": redis + "/1", "KEY_PREFIX": "mysite", "VERSION": 2},
            {},
            "cached_db %s/1?prefix=mysite&version=2" % redis,
        )
    if django.VERSION < (5, 0):  # Debian 12's django-redis
        found["django-redis"] = (B + "cache", django_redis(2), {}, "cache %s/2" % redis)
        found["django-redis-zlib"] = (B + "cache", django_redis(3, COMPRESSOR="django_redis.compressors.zlib.ZlibCompressor"), {}, "cache %s/3" % redis)
        found["django-redis-json"] = (
            B + "cached_db",
            django_redis(4, SERIALIZER="django_redis.serializers.json.JSONSerializer"),
            {},
            "cached_db %s/4" % redis,
        )
        found["django-redis-protocol-2"] = (B + "cache", django_redis(5, PICKLE_VERSION=2), {}, "cache %s/5" % redis)
    return found


def set_up(site, state, all_stores):
    caches = {"default": {"BACKEND": C + "dummy.DummyCache"}}
    caches.update((name, cache) for name, (_, cache, _, _) in all_stores.items() if cache)
    settings.configure(
        SECRET_KEY=SECRET,
        USE_TZ=site["use_tz"],
        TIME_ZONE="America/Chicago",
        DATABASES={"default": site["database"]},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "mod_sse"],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        SESSION_FILE_PATH="%s/sessions" % state,
        CACHES=caches,
    )
    # Django does this for settings that are a module, not for settings.configure().
    os.environ["TZ"] = settings.TIME_ZONE
    time.tzset()
    django.setup()


def store_class(engine):
    from importlib import import_module

    return import_module(engine).SessionStore


def prepare(state, all_stores):
    from django.contrib.auth.models import Group, User
    from django.core.management import call_command

    for name in ("sessions", "cache"):
        pathlib.Path(state, name).mkdir()
    call_command("migrate", verbosity=0)
    call_command("createcachetable", verbosity=0)
    alice = User.objects.create_user("alice", password="pw")
    User.objects.create_user("bob", password="pw")
    alice.groups.add(Group.objects.create(name="editors"), Group.objects.create(name="größe & <co>"))
    call_command("sse_config")


def new_session(engine, expiry=None):
    from django.contrib.auth import login
    from django.contrib.auth.models import User
    from django.test import RequestFactory

    request = RequestFactory().get("/")
    request.session = store_class(engine)()
    request.session["cart"] = [1, 2.5, {"größe": None, "n": 12345678901234567890}]
    if expiry:
        request.session.set_expiry(expiry)
    login(request, User.objects.get(username="alice"))
    request.session.save()
    return request.session.session_key


def log_in(state, all_stores):
    from django.test.utils import override_settings

    cookies = {}
    for name, (engine, cache, more, _) in all_stores.items():
        with override_settings(SESSION_ENGINE=engine, SESSION_CACHE_ALIAS=name if cache else "default", **more):
            cookies[name] = new_session(engine)
    pathlib.Path(state, "cookies.json").write_text(json.dumps(cookies))
    print(json.dumps(cookies))


def log_in_briefly(state, all_stores):
    from django.test.utils import override_settings
    from django.utils import timezone

    found = {}
    for name, (engine, cache, more, _) in all_stores.items():
        # Signed cookies have one age for all; files heed a moment only, which Django writes from 4.1 on.
        if name == "signed_cookies" or (name == "file" and django.VERSION < (4, 1)):
            continue
        with override_settings(SESSION_ENGINE=engine, SESSION_CACHE_ALIAS=name if cache else "default", **more):
            end = timezone.now() + datetime.timedelta(seconds=BRIEF)
            unix = time.time() + BRIEF
            found[name] = [new_session(engine, end if name == "file" else BRIEF), unix]
    print(json.dumps(found))


def log_out(state, all_stores):
    from django.test.utils import override_settings

    for name, cookie in json.loads(pathlib.Path(state, "cookies.json").read_text()).items():
        engine, cache, more, _ = all_stores[name]
        with override_settings(SESSION_ENGINE=engine, SESSION_CACHE_ALIAS=name if cache else "default", **more):
            store_class(engine)(cookie).flush()


def main(state, command):
    site = json.loads(pathlib.Path(state, "site.json").read_text())
    all_stores = stores(state, site)
    set_up(site, state, all_stores)
    {"prepare": prepare, "log-in": log_in, "log-in-briefly": log_in_briefly, "log-out": log_out}[command](state, all_stores)


if __name__ == "__main__":
    main(*sys.argv[1:])
