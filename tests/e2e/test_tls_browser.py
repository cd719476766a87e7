# SPDX-License-Identifier: Apache-2.0
"""Chromium's EventSource over TLS: HTTP/1.1 with the connection handed over, and HTTP/2, parked and polled; a thousand messages each,
over several streams."""

import pytest
from tls_site import TlsSite
from waiting import wait_until

N = 1000
PAGE = """<!doctype html><title>test</title><script>
window.got = []; window.opened = []; window.ends = [];
const source = new EventSource('/events?event=e');
source.addEventListener('e', e => got.push(+e.data));
source.addEventListener('stream-open', e => opened.push(JSON.parse(e.data).resumed));
source.addEventListener('stream-end', e => ends.push(JSON.parse(e.data).reason));
</script>"""


@pytest.mark.parametrize(
    "server,flags,carried",
    [
        ("Protocols http/1.1\nSSEMaxAge 2\n", ["--ssl-version-min=tls1.3"], "tls"),
        ("Protocols http/1.1\nSSEMaxAge 2\n", ["--ssl-version-max=tls1.2"], "tls"),
        ("Protocols h2 http/1.1\nSSEMaxAge 2\nSSEParkedStreams 4\n", [], "parked"),
        ("Protocols h2 http/1.1\nSSEParkedStreams 0\n", [], None),
    ],
    ids=["1.1 over TLS 1.3", "1.1 over TLS 1.2", "h2 parked", "h2 polled"],
)
def test_thousand_messages(make_httpd, make_browser, server, flags, carried):
    site = TlsSite(make_httpd(), server="SSERetry 300\n" + server, modules=["http2"])
    (site.httpd.dir / "htdocs" / "page.html").write_text(PAGE)
    site.start()
    driver = make_browser("--ignore-certificate-errors", *flags).driver
    driver.get("https://localhost:%d/page.html" % site.port)
    wait_until(lambda: driver.execute_script("return opened.length"), 20, "the stream is open")
    with site.httpd.admin_socket() as admin:
        for i in range(0, N, 20):
            admin.call("POST", "/publish", [{"event": "e", "data": k} for k in range(i, i + 20)])
            wait_until(lambda: driver.execute_script("return got.length") >= i, 20, "the page keeps up")
    wait_until(lambda: driver.execute_script("return got.length") >= N, 30, "all have come")
    assert driver.execute_script("return got") == list(range(N))
    wait_until(lambda: driver.execute_script("return opened.length") >= 3, 30, "it has been back")
    opened = driver.execute_script("return opened")
    assert opened == [False] + [True] * (len(opened) - 1)
    assert set(site.carried()) == ({carried} if carried else set())
    if carried:
        assert set(driver.execute_script("return ends")) == {"max-age"}
