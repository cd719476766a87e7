# SPDX-License-Identifier: Apache-2.0
"""The demo's page in a real browser: log in, receive, lose the connection, receive what was missed; see who is online."""

import subprocess

import pytest
from cuttable_proxy import CuttableProxy
from django_site import PASSWORD, DjangoSite
from selenium.webdriver.common.by import By
from waiting import wait_until


@pytest.fixture(scope="module")
def site(make_shared_httpd):
    site = DjangoSite(make_shared_httpd()).start("SSERetry 200\nSSEPresenceGrace 1")
    listener = site.start_listener()
    yield site
    listener.terminate()
    try:
        listener.wait(15)
    except subprocess.TimeoutExpired:
        listener.kill()
        raise


class Page:
    """A person before a browser."""

    def __init__(self, browser, address):
        self.driver = browser.driver
        self.browser = browser
        self.url = "http://127.0.0.1:%d/" % address[1]

    def log_in(self, name):
        self.driver.get(self.url + "login/")
        self.driver.find_element(By.NAME, "username").send_keys(name)
        self.driver.find_element(By.NAME, "password").send_keys(PASSWORD)
        self.driver.find_element(By.CSS_SELECTOR, "form button.primary").click()
        self.wait_state("open")
        return self

    def state(self):
        return self.driver.execute_script("return document.getElementById('state')?.dataset.state")

    def wait_state(self, wanted, timeout=20):
        wait_until(lambda: self.state() == wanted, timeout, "the page says %s, not %s" % (wanted, self.state()))

    def feed(self):
        """Texts on the page, oldest first."""
        return self.driver.execute_script("return [...document.querySelectorAll('#feed li .text')].map(e => e.textContent).reverse()")

    def wait_feed(self, texts, timeout=20):
        wait_until(lambda: self.feed() == texts, timeout, "the feed is %r" % (texts,))

    def online(self, name):
        return self.driver.execute_script(
            "return document.querySelector(`#people li[data-name=\"${arguments[0]}\"]`)?.dataset.online === 'true'", name
        )

    def publish(self, to, event, text, choice=None):
        self.driver.execute_script(
            "const f = document.getElementById('publish');"
            "f.querySelector(`input[name=to][value=\"${arguments[0]}\"]`).click();"
            "f.elements.event.value = arguments[1]; f.elements.text.value = arguments[2];"
            "if (arguments[3]) { const s = f.elements[arguments[0]];"
            "  s.value = [...s.options].find(o => o.textContent === arguments[3]).value; }"
            "f.dispatchEvent(new Event('input', {bubbles: true}));",
            to, event, text, choice,
        )  # fmt: skip
        self.driver.find_element(By.CSS_SELECTOR, "#publish button.primary").click()

    def serious_errors(self):
        """What the browser's console holds besides the network failures that the test made."""
        return [e for e in self.browser.console() if e["level"] == "SEVERE" and "net::ERR_" not in e["message"]]


def test_log_in_receive_lose_the_connection_and_catch_up(site, make_browser):
    proxy = CuttableProxy(site.httpd.address)
    try:
        page = Page(make_browser(), proxy.address).log_in("alice")
        alice = "users=[User.objects.get(username='alice')]"
        site.shell("Events.publish('news:today', {'text': 'one'})\nEvents.publish('news:today', {'text': 'two'}, %s)" % alice)
        page.wait_feed(["one", "two"])
        proxy.cut()
        page.wait_state("waiting")
        site.shell(
            "Events.publish('news:today', {'text': 'three'})\nEvents.publish('news:today', {'text': 'four'}, %s)\n"
            "Events.broadcast('news:today', {'text': 'five'})" % alice
        )
        assert page.feed() == ["one", "two"]
        proxy.mend()
        page.wait_feed(["one", "two", "three", "four", "five"])
        page.wait_state("open")
        site.shell("Events.publish('news:today', {'text': 'six'})")
        page.wait_feed(["one", "two", "three", "four", "five", "six"])
        assert page.serious_errors() == []
    finally:
        proxy.close()


def test_publish_from_the_page(site, make_browser):
    """To an event, a user, a group, everyone; another person's page gets what is theirs."""
    alice = Page(make_browser(), site.httpd.address).log_in("alice")
    bob = Page(make_browser(), site.httpd.address).log_in("bob")
    alice.publish("event", "news:today", "to subscribers")
    bob.wait_feed(["to subscribers"])
    alice.publish("user", "news:today", "to bob", "bob")
    bob.wait_feed(["to subscribers", "to bob"])
    bob.publish("group", "editors:desk", "to editors", "editors")
    alice.wait_feed(["to subscribers", "to editors"])
    bob.publish("everyone", "news:today", "to everyone")
    alice.wait_feed(["to subscribers", "to editors", "to everyone"])
    bob.wait_feed(["to subscribers", "to bob", "to everyone"])
    assert alice.serious_errors() == [] and bob.serious_errors() == []


def test_two_browsers_see_who_is_online(site, make_browser):
    alice = Page(make_browser(), site.httpd.address).log_in("alice")
    wait_until(lambda: alice.online("alice") and not alice.online("carol"), 15, "alice sees herself and not carol")
    carol_browser = make_browser()
    carol = Page(carol_browser, site.httpd.address).log_in("carol")
    wait_until(lambda: alice.online("carol"), 15, "alice sees carol come")
    wait_until(lambda: carol.online("alice"), 15, "carol sees alice")
    carol.driver.get("about:blank")
    wait_until(lambda: not alice.online("carol"), 20, "alice sees carol go")
    assert alice.state() == "open"


def test_server_restart_is_survived(site, make_browser):
    page = Page(make_browser(), site.httpd.address).log_in("bob")
    site.httpd.graceful()
    page.wait_state("open", 30)

    def received():
        site.shell("Events.publish('news:today', {'text': 'after the restart'})")
        return "after the restart" in page.feed()

    wait_until(received, 30, "the page receives again", step=0.5)


def test_disconnect_stops_the_browser(site, make_browser):
    """The end mark: EventSource comes back once, gets 204 and stays away."""
    page = Page(make_browser(), site.httpd.address).log_in("carol")
    carol = site.ids["carol"]
    assert site.httpd.admin().post("/disconnect", {"user": carol})["closed"] == 1
    page.wait_state("ended")
    wait_until(lambda: not site.httpd.admin().get("/presence/users/" + carol)["online"], 20)
    lines = site.httpd.access_log.read_text().splitlines()
    assert sum(1 for line in lines if " 204 " in line and "/events" in line) <= 1
