# SPDX-License-Identifier: Apache-2.0
"""``SSE_BROKER``: publishes go straight to Redis, by the script that the hub itself runs (``mod_sse/lua``); everything else
goes to the admin handler as before.

A publish then needs neither httpd nor a hub. It is held to the hub's own rules (``rules.py``). What httpd's configuration says is
repeated in settings: ``SSE_BROKER_HISTORY`` and ``SSE_MAX_MESSAGE_SIZE`` must say what ``SSEHistory`` and ``SSEMaxMessageSize``
say. Needs redis-py.
"""

import hashlib
import re
import secrets
import threading
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from ..conf import REALM, REALM_WORDS, sse_settings
from .base import Answer, Lost, Transport
from .rules import key_conflict, problem, read

LUA = Path(__file__).resolve().parent.parent / "lua"
SCHEMES = ("redis", "rediss", "redis+unix", "redis+sentinel", "redis+cluster")
WAIT_MS = 1000


def script(name: str) -> str:
    """A script as the hub's build puts it together: what all have in common, what it asks for, itself."""
    own = (LUA / f"{name}.lua").read_text(encoding="utf-8")
    parts = ["common", *re.findall(r"^-- \+([a-z_]+)$", own, re.M)]
    return "".join((LUA / f"{part}.lua").read_text(encoding="utf-8") for part in parts) + own


def _hosts(netloc: str, port: int) -> List[Tuple[str, int]]:
    found = []
    for host in netloc.split(","):
        name, _, number = host.rpartition(":") if re.search(r":\d+$", host) else (host, "", "")
        if not re.fullmatch(r"\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+", name):
            raise ImproperlyConfigured("SSE_BROKER: a host is a name or an address, and :port a number")
        found.append((name.strip("[]"), int(number) if number else port))
    return found


def _first_line(path: str) -> str:
    """``file:/path`` keeps the URL, and its password, out of the settings, as it does for SSEBroker."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().strip()
    except (OSError, UnicodeDecodeError) as err:
        raise ImproperlyConfigured(f"SSE_BROKER: {path!r} cannot be read: {err}") from None


class BrokerURL:
    """The parts of an ``SSEBroker`` URL; ImproperlyConfigured says what is wrong, never the password."""

    def __init__(self, url: Any) -> None:
        if not isinstance(url, str):
            raise ImproperlyConfigured(f"SSE_BROKER must be a string such as 'redis://host:6379/0', not {type(url).__name__}")
        if url.startswith("file:"):
            url = _first_line(url[len("file:") :])
        try:
            parts = urlsplit(url)
        except ValueError as err:
            raise ImproperlyConfigured(f"SSE_BROKER: {err}") from None
        if parts.scheme not in SCHEMES:
            raise ImproperlyConfigured(f"SSE_BROKER begins with none of {', '.join(s + '://' for s in SCHEMES)}, file:/")
        self.scheme = parts.scheme
        login, _, place = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        self.user, self.password = unquote(user) or None, unquote(password) or None
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.prefix = options.get("prefix", "sse:")
        self.tls = self.scheme == "rediss" or options.get("tls") == "1"
        self.ca, self.verify = options.get("ca"), options.get("verify", "1") == "1"
        self.cert, self.key = options.get("cert"), options.get("key")
        self.sentinel_user, self.sentinel_password = options.get("sentinel_user"), options.get("sentinel_password")
        self.path, self.master, db = None, None, options.get("db") or "0"
        path = parts.path.lstrip("/")
        if self.scheme == "redis+unix":
            self.path = parts.path
        elif self.scheme == "redis+sentinel":
            self.master, _, number = path.partition("/")
            db = number or db
        else:
            db = path or db
        try:
            self.db, self.wait = int(db), int(options.get("wait", "0"))
            self.hosts = [] if self.path else _hosts(place, 26379 if self.master else 6379)
        except ValueError:
            raise ImproperlyConfigured("SSE_BROKER: port, database and wait are numbers") from None
        if self.scheme == "redis+sentinel" and not self.master:
            raise ImproperlyConfigured("SSE_BROKER: redis+sentinel://h1,h2,h3/name needs the master's name")


class BrokerTransport(Transport):
    """Publishes by script; ``admin`` carries everything else."""

    def __init__(self, url: Any, admin: Transport) -> None:
        try:
            import redis  # type: ignore[import]
        except ImportError:
            raise ImproperlyConfigured("SSE_BROKER needs redis-py (Debian: python3-redis, pip: redis)") from None
        self.redis = redis
        self.url = BrokerURL(url)
        self.admin = admin
        self.source = script("publish").encode()
        self.sha = hashlib.sha1(self.source).hexdigest()
        self._client: Any = None
        self._loaded = False
        self._lock = threading.Lock()

    def describe(self) -> str:
        return f"{self.url.scheme}://{self.url.path or ','.join('%s:%d' % h for h in self.url.hosts)}"

    def close(self) -> None:
        self._leave()
        self.admin.close()

    def _leave(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def feed(self, idle: float) -> Iterator[Optional[Tuple[str, bool]]]:
        return self.admin.feed(idle)

    def _connect(self) -> Any:
        url = self.url
        common: Dict[str, Any] = {
            "username": url.user,
            "password": url.password,
            "socket_timeout": float(sse_settings.TIMEOUT),
            "socket_connect_timeout": float(sse_settings.TIMEOUT),
        }
        if url.tls:
            common.update(ssl=True, ssl_ca_certs=url.ca, ssl_certfile=url.cert, ssl_keyfile=url.key,
                          ssl_cert_reqs="required" if url.verify else "none", ssl_check_hostname=url.verify)
        if url.path:
            return self.redis.Redis(unix_socket_path=url.path, db=url.db, **common)
        if url.scheme == "redis+cluster":
            from redis.cluster import ClusterNode, RedisCluster  # type: ignore[import]

            return RedisCluster(startup_nodes=[ClusterNode(*host) for host in url.hosts], **common)
        if url.master:
            from redis.sentinel import Sentinel  # type: ignore[import]

            asked = {"username": url.sentinel_user, "password": url.sentinel_password, "socket_timeout": common["socket_timeout"]}
            return Sentinel(url.hosts, sentinel_kwargs=asked, **common).master_for(url.master, db=url.db)
        return self.redis.Redis(host=url.hosts[0][0], port=url.hosts[0][1], db=url.db, **common)

    def _run(self, arguments: List[Any]) -> Tuple[List[Any], int]:
        """The script's answer, and how many replicas have it."""
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            client = self._client
        meta = f"{self.url.prefix}{{{sse_settings.REALM}}}:meta"
        try:
            found = self._ask(client, meta, arguments, whole=not self._loaded)
        except self.redis.exceptions.NoScriptError:
            found = self._ask(client, meta, arguments, whole=True)
        self._loaded = True
        return found

    def _ask(self, client: Any, meta: str, arguments: List[Any], whole: bool) -> Tuple[List[Any], int]:
        """``whole``: sends the script itself, which the server then knows by its hash."""
        wait = self.url.wait
        if wait:
            # WAIT counts for the connection that has written: both go out together, in a Cluster to the realm's node.
            if self.url.scheme == "redis+cluster":
                client = client.get_redis_connection(client.get_node_from_key(meta))
            client = client.pipeline(transaction=False)
        answer = client.eval(self.source, 1, meta, *arguments) if whole else client.evalsha(self.sha, 1, meta, *arguments)
        if not wait:
            return answer, 0
        client.wait(wait, WAIT_MS)
        answer, replicas = client.execute()
        return answer, replicas

    def exchange(self, method: str, target: str, body: Optional[bytes], timeout: float) -> Answer:
        if method != "POST" or target not in ("/publish", "/broadcast") or body is None:
            return self.admin.exchange(method, target, body, timeout)
        if not REALM.fullmatch(str(sse_settings.REALM)):
            return problem(400, f"SSE_REALM must be {REALM_WORDS}")
        single, items = read(body, target == "/broadcast", int(sse_settings.MAX_MESSAGE_SIZE))
        if isinstance(items, Answer):
            return items
        if not items:
            return Answer(200, {}, {"ids": []})
        count, seconds = sse_settings.BROKER_HISTORY
        kind = "s" if self.url.scheme == "redis+cluster" else "p"
        arguments: List[Any] = [secrets.token_hex(7) + "01", count, seconds, kind, "python", len(items)]
        for item in items:
            arguments += [item.event, item.data, int(item.raw), item.ttl, item.key, item.replace, len(item.channels), *item.channels]
        try:
            found, replicas = self._run(arguments)
        except (self.redis.exceptions.ConnectionError, self.redis.exceptions.TimeoutError) as err:
            raise Lost(f"{err}; is Redis running, and SSE_BROKER what httpd's SSEBroker says?") from None
        except self.redis.exceptions.RedisError as err:
            self._leave()  # it may be a node that the realm has left
            return problem(503, f"the broker refuses: {err}")
        epoch = found[0].decode()
        if found[3] == b"clash":
            return key_conflict(None if single else int(found[4]) - 1)
        if replicas < self.url.wait:
            return problem(503, "too few replicas have the message")
        ids = ["%x-%d" % (int(epoch, 16), number) for number in found[4][::2]]
        return Answer(200, {}, {"id": ids[0]} if single else {"ids": ids})
