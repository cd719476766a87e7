# SPDX-License-Identifier: Apache-2.0
"""The client script: tabs of one browser share one stream, and the next tab goes on from the last id when that tab closes."""

import pytest
from django_site import PASSWORD, DjangoSite
from selenium.webdriver.common.by import By
from waiting import wait_until


@pytest.fixture(scope="module")
def site(make_shared_httpd):
    return DjangoSite(make_shared_httpd()).start("SSERetry 200\nSSEPresenceGrace 1")


class Tabs:
    """Several tabs of one browser, logged in as one user. Each keeps what it was sent in window.got."""

    def __init__(self, browser, site, name):
        self.driver = browser.driver
        self.url = "http://127.0.0.1:%d/" % site.httpd.port
        self.driver.get(self.url + "login/")
        self.driver.find_element(By.NAME, "username").send_keys(name)
        self.driver.find_element(By.NAME, "password").send_keys(PASSWORD)
        self.driver.find_element(By.CSS_SELECTOR, "form button.primary").click()
        self.handles = [self.driver.current_window_handle]
        self.prepare()

    def prepare(self):
        wait_until(lambda: self.js("return window.sse?.state") == "open", 20, "the page is live")
        self.js("window.got = []; window.sse.on('tabs:n', n => window.got.push(n))")

    def js(self, code):
        return self.driver.execute_script(code)

    def open(self):
        self.driver.switch_to.new_window("tab")
        self.handles.append(self.driver.current_window_handle)
        self.driver.get(self.url)
        self.prepare()

    def go(self, number):
        self.driver.switch_to.window(self.handles[number])

    def holders(self):
        """Which tabs hold a connection."""
        found = []
        for number in range(len(self.handles)):
            self.go(number)
            if self.js("return Boolean(window.sse.source)"):
                found.append(number)
        return found

    def wait_got(self, number, wanted):
        self.go(number)
        wait_until(lambda: self.js("return window.got") == wanted, 20, "tab %d got %r, not %r" % (number, self.js("return window.got"), wanted))


def test_tabs_share_one_stream(site, make_browser):
    alice = site.ids["alice"]
    admin = site.httpd.admin()
    tabs = Tabs(make_browser(), site, "alice")
    tabs.open()
    tabs.open()
    assert tabs.holders() == [0]
    assert admin.get("/presence/users/" + alice)["streams"] == 1

    admin.publish("tabs:n", 1, users=[alice])
    for number in range(3):
        tabs.wait_got(number, [1])

    # The tab with the connection goes; what is published before another has taken over is not lost.
    tabs.go(0)
    tabs.driver.close()
    del tabs.handles[0]
    for n in (2, 3, 4):
        admin.publish("tabs:n", n, users=[alice])
    for number in range(2):
        tabs.wait_got(number, [1, 2, 3, 4])
    wait_until(lambda: len(tabs.holders()) == 1, 20, "one tab holds the connection")
    admin.publish("tabs:n", 5, users=[alice])
    for number in range(2):
        tabs.wait_got(number, [1, 2, 3, 4, 5])
    wait_until(lambda: admin.get("/presence/users/" + alice)["streams"] == 1, 20, "one stream")


def test_a_page_that_is_left_and_come_back_to(site, make_browser):
    """Also where the browser keeps left pages: the user is offline meanwhile, and nothing is missed on return."""
    bob = site.ids["bob"]
    admin = site.httpd.admin()
    tabs = Tabs(make_browser(), site, "bob")
    admin.publish("tabs:n", 1, users=[bob])
    tabs.wait_got(0, [1])
    tabs.driver.get("about:blank")
    wait_until(lambda: not admin.get("/presence/users/" + bob)["online"], 20, "bob is offline")
    admin.publish("tabs:n", 2, users=[bob])
    tabs.driver.back()
    wait_until(lambda: tabs.js("return window.sse?.state") == "open", 20, "the page is live")
    if tabs.js("return Boolean(window.got)"):  # kept: it goes on from its last id; otherwise it has been loaded anew
        tabs.wait_got(0, [1, 2])
    wait_until(lambda: admin.get("/presence/users/" + bob)["online"], 20, "bob is online")
