# SPDX-License-Identifier: Apache-2.0
"""mod_ssl beside a test's httpd: certificates of a test run's own authority, virtual hosts, and clients' contexts."""

import functools
import pathlib
import ssl
import subprocess
import tempfile

from event_stream import EventStream, fetch
from httpd_server import ADMIN, STREAM
from ports import free_port

SSL_MODULES = ("socache_shmcb", "ssl")

# (TLS version, OpenSSL's name) of every suite that is handed over; RSA and ECDSA differ in the handshake only.
SUITES = [
    ("1.3", "TLS_AES_128_GCM_SHA256"),
    ("1.3", "TLS_AES_256_GCM_SHA384"),
    ("1.3", "TLS_CHACHA20_POLY1305_SHA256"),
    ("1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"),
]
CBC = "ECDHE-ECDSA-AES128-SHA256"

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def _openssl(*args, cwd):
    subprocess.run(["openssl", *args], cwd=cwd, check=True, capture_output=True)


@functools.lru_cache(maxsize=None)
def certificates():
    """A directory with ca.pem, NAME.pem and NAME.key for some server names, renewed.pem/key for localhost again, and client.pem/key. Made once a run."""
    keep = tempfile.TemporaryDirectory(prefix="mod_sse-certs-")
    directory = pathlib.Path(keep.name)
    directory.chmod(0o755)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    _openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test authority", cwd=directory)
    for name in ("localhost", "one.test", "two.test", "client", "renewed"):
        owner = "localhost" if name == "renewed" else name
        (directory / "ext").write_text("subjectAltName=DNS:%s\nkeyUsage=digitalSignature\n" % owner)
        _openssl("req", *curve, "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + owner, cwd=directory)
        sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext"]
        _openssl("x509", "-req", "-in", name + ".csr", "-out", name + ".pem", *sign, cwd=directory)
    certificates.keep = keep
    return directory


def client_context(version=None, suite=None, client_cert=False, alpn=None):
    """What a Python client speaks TLS with; the test authority is the only one it trusts."""
    context = ssl.create_default_context(cafile=str(certificates() / "ca.pem"))
    # An end without close_notify is to be seen as what it is.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    if version:
        context.minimum_version = context.maximum_version = _VERSIONS[version]
    if suite and version != "1.3":
        context.set_ciphers(suite)
    if client_cert:
        context.load_cert_chain(certificates() / "client.pem", certificates() / "client.key")
        context.post_handshake_auth = True
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def virtual_host(port, name="localhost", inside="", keys=None):
    """keys: the directory of certificates, if it is not that of the run."""
    keys = keys or certificates()
    return '<VirtualHost *:%d>\nServerName %s\nSSLEngine On\nSSLCertificateFile "%s/%s.pem"\nSSLCertificateKeyFile "%s/%s.key"\n%s\n</VirtualHost>\n' % (
        port, name, keys, name, keys, name, inside,
    )  # fmt: skip


class TlsSite:
    """An Httpd that also listens with TLS."""

    def __init__(self, httpd, server="", hosts=(("localhost", ""),), locations=STREAM + ADMIN, modules=(), suite=None, keys=None, host="127.0.0.1", **more):
        self.httpd = httpd
        self.port = free_port()
        self.address = (host, self.port)
        text = "Listen %s:%d\nSSLSessionCache shmcb:{dir}/run/cache(65536)\n%s\n" % (host, self.port, server)
        if suite and suite[0] == "1.3":
            text += "SSLCipherSuite TLSv1.3 %s\n" % suite[1]
        text += "".join(virtual_host(self.port, name, inside, keys) for name, inside in hosts)
        # Debian's mod_ssl and OpenSSL need not come from the same point release.
        httpd.log.allow(r"\[ssl:warn\].*AH01882: Init: this version of mod_ssl was compiled against a newer library")
        httpd.configure(server=text, locations=locations, modules=[*SSL_MODULES, *modules], **more)

    def start(self):
        self.httpd.start()
        return self

    def stream(self, target="/events?event=e", tls=None, **more):
        stream = EventStream(self.address, target, tls=tls or client_context(), **more)
        assert stream.status == 200, (stream.status, stream.raw)
        return stream

    def fetch(self, target="/", tls=None, **more):
        return fetch(self.address, target=target, tls=tls or client_context(), **more)

    def admin(self):
        return self.httpd.admin()

    def carried(self):
        """{way: streams so far} of the hub's own count, ways that were never used left out."""
        carried = self.admin().get("/status")["streams"]["carried"]
        return {way: n["ever"] for way, n in carried.items() if n["ever"]}
