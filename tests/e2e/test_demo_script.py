# SPDX-License-Identifier: Apache-2.0
"""script/demo as a newcomer runs it: it comes up, prints address and passwords, and Ctrl-C leaves nothing behind."""

import os
import re
import shutil
import signal
import subprocess

import pytest
from event_stream import fetch
from ports import free_port
from selenium.webdriver.common.by import By
from stage import TOP, make_directory
from waiting import wait_until


@pytest.fixture
def demo(tmp_path):
    log = tmp_path / "out"
    temporary = make_directory("mod_sse-test-demo-")
    port = free_port()
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [str(TOP / "script" / "demo"), "--port", str(port)],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(temporary)},
            start_new_session=True,
            # As in a terminal, also where these tests run in the background of a shell, which makes its children ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    yield process, log, port, temporary
    if process.poll() is None:
        process.kill()
        process.wait(10)
    shutil.rmtree(temporary, ignore_errors=True)


def processes_naming(text):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                with open("/proc/%s/cmdline" % entry, "rb") as f:
                    if text.encode() in f.read():
                        found.append(int(entry))
            except OSError:
                continue
    return found


def test_demo_comes_up_and_goes_away(demo, make_browser):
    process, log, port, temporary = demo

    def passwords():
        assert process.poll() is None, log.read_text()
        return dict(re.findall(r"^\s+(alice|bob)\s+password (\S+)$", log.read_text(), re.M)) if "Ctrl-C" in log.read_text() else None

    known = wait_until(passwords, 300, "the demo is up", step=0.2)
    assert set(known) == {"alice", "bob"}
    url = "http://127.0.0.1:%d/" % port
    assert url in log.read_text()
    assert fetch(("127.0.0.1", port), target="/login/").status == 200
    driver = make_browser().driver
    driver.get(url)
    driver.find_element(By.NAME, "username").send_keys("bob")
    driver.find_element(By.NAME, "password").send_keys(known["bob"])
    driver.find_element(By.CSS_SELECTOR, "form button.primary").click()
    wait_until(lambda: driver.execute_script("return document.getElementById('state')?.dataset.state") == "open", 30, "the page is live")
    driver.find_element(By.CSS_SELECTOR, "#publish button.primary").click()
    wait_until(lambda: "Hello from bob" in driver.find_element(By.ID, "feed").text, 20, "the event has arrived")
    os.killpg(process.pid, signal.SIGINT)
    process.wait(60)
    assert list(temporary.iterdir()) == []
    wait_until(lambda: not processes_naming(str(temporary)), 15, "no process is left")
