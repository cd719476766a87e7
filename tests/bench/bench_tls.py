# SPDX-License-Identifier: Apache-2.0
"""Servers of script/bench whose streams come over TLS; publishes go to their clear port."""

import socket

from bench_servers import _EVENTS, ADMIN, MPM, WORKERS, ModSse, Nchan
from ports import free_port
from tls_site import SSL_MODULES, certificates, client_context, virtual_host


class NchanTls(Nchan):
    def __init__(self, bench, workers):
        super().__init__(bench, workers)
        self.tls_port = free_port()
        keys = certificates() / "localhost"
        self.more_listen = (
            f"listen 127.0.0.1:{self.tls_port} ssl backlog=4096 {'reuseport' if workers > 1 else ''};"
            f" ssl_certificate {keys}.pem; ssl_certificate_key {keys}.key; ssl_protocols TLSv1.2 TLSv1.3;"
        )

    def load_args(self, scenario):
        return [*super().load_args(scenario), "--tls-port", str(self.tls_port)]


class ModSseTls(ModSse):
    """way: tls (handed to the hub), relay, or h2 (a thread for each stream and one for each connection)."""

    def __init__(self, bench, way, streams):
        super().__init__(bench)
        self.way = way
        self.streams = streams
        self.tls_port = free_port()

    def configure(self):
        server = f"Listen 127.0.0.1:{self.tls_port}\nSSLSessionCache none\nSSLSessionTickets off\n{self.directives}\n"
        mpm = MPM
        if self.way == "relay":
            server += "SSETLSHandoff Off\n"
            mpm += f"AsyncRequestWorkerFactor {self.streams // WORKERS + 2}\n"
        if self.way == "h2":
            child = self.streams // 2 + WORKERS
            server += f"Protocols h2 http/1.1\nH2MinWorkers {child}\nH2MaxWorkers {child}\nSSEParkedStreams {self.streams}\n"
            mpm = mpm.replace("ThreadsPerChild 25", f"ThreadLimit {child}\nThreadsPerChild {child}")
            mpm = mpm.replace(f"MaxRequestWorkers {WORKERS}", f"MaxRequestWorkers {2 * child}")
            mpm = mpm.replace(f"MaxSpareThreads {WORKERS}", f"MaxSpareThreads {2 * child}")
        self.httpd.log.allow("AH01882")
        self.httpd.configure(
            server=server + virtual_host(self.tls_port), locations=ADMIN + _EVENTS, modules=["authn_anon", *SSL_MODULES, "http2"], mpm_settings=mpm
        )

    def _connect(self):
        """A worker's first handshake allocates what its later ones use again."""
        raw = socket.create_connection(("127.0.0.1", self.tls_port), 10)
        return client_context().wrap_socket(raw, server_hostname="localhost")

    def load_args(self, scenario):
        return [*super().load_args(scenario), "--tls-port", str(self.tls_port), *(["--h2"] if self.way == "h2" else [])]
