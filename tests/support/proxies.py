# SPDX-License-Identifier: Apache-2.0
"""Proxies in front of an Httpd, set up as docs/operations.md says: each a process of the test's own on a free port."""

import pathlib
import shutil
import signal
import subprocess

from event_stream import fetch
from httpd_server import APACHE, MODULES
from ports import free_port
from stage import RUN_AS, make_directory
from tls_site import client_context
from waiting import wait_until

_NGINX = """
daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/log; events {{ }}
http {{
    access_log off;
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    server {{
        listen 127.0.0.1:{port}{tls};
        location / {{
            proxy_pass http://127.0.0.1:{origin};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $http_x_test_client;
            {buffering}
        }}
    }}
}}
"""
_HTTPD = """
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule headers_module {modules}/mod_headers.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
ServerRoot "{dir}"
ServerName localhost
Listen 127.0.0.1:{port}
PidFile "{dir}/pid"
DefaultRuntimeDir "{dir}"
ErrorLog "{dir}/log"
User {user}
Group {user}
RequestHeader set X-Forwarded-For "expr=%{{req:X-Test-Client}}"
ProxyAddHeaders Off
ProxyPass / http://127.0.0.1:{origin}/ flushpackets=on
"""
_HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend in
    bind 127.0.0.1:{port}
    http-request set-header X-Forwarded-For %[req.hdr(X-Test-Client)]
    default_backend origin
backend origin
    server one 127.0.0.1:{origin}
"""
_VARNISH = """
vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{origin}"; }}
sub vcl_recv {{
    set req.http.X-Forwarded-For = req.http.X-Test-Client;
    if (req.url ~ "^/events") {{ return (pipe); }}
    return (pass);
}}
"""


class Proxy:
    """name: nginx, nginx-default (buffering not turned off there), httpd, haproxy, varnish. Forwards as client's address what a test says in X-Test-Client."""

    def __init__(self, name, httpd, certificate=None):
        self.dir = make_directory("mod_sse-proxy-")
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)
        values = {"dir": self.dir, "port": self.port, "origin": httpd.port, "modules": MODULES, "user": RUN_AS, "tls": "", "buffering": ""}
        conf = self.dir / "conf"
        if name == "nginx":
            values["buffering"] = "proxy_buffering off;"
        if certificate:
            values["tls"] = " ssl; ssl_certificate %s.pem; ssl_certificate_key %s.key" % (certificate, certificate)
        text = {"nginx": _NGINX, "nginx-default": _NGINX, "httpd": _HTTPD, "haproxy": _HAPROXY, "varnish": _VARNISH}[name]
        conf.write_text(text.format(**values))
        command = {
            "nginx": ["/usr/sbin/nginx", "-c", conf, "-e", self.dir / "log", "-g", ""],
            "httpd": [APACHE, "-f", conf, "-DFOREGROUND"],
            "haproxy": ["/usr/sbin/haproxy", "-db", "-f", conf],
            "varnish": ["/usr/sbin/varnishd", "-F", "-a", "127.0.0.1:%d" % self.port, "-f", conf, "-n", self.dir / "work", "-s", "malloc,16m", "-j", "none"],
        }[name.split("-")[0]]
        with open(self.dir / "console", "wb") as console:
            self.process = subprocess.Popen(list(map(str, command)), stdout=console, stderr=console, cwd="/")
        wait_until(lambda: self._answers(client_context() if certificate else None), 20, "the proxy answers")

    def _answers(self, tls):
        if self.process.poll() is not None:
            raise AssertionError((self.dir / "console").read_text() + "".join(p.read_text() for p in [self.dir / "log"] if p.exists()))
        try:
            return fetch(self.address, timeout=5, tls=tls).status == 200
        except (OSError, AssertionError):
            return False

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        shutil.rmtree(pathlib.Path(self.dir), ignore_errors=True)
