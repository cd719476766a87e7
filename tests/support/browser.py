# SPDX-License-Identifier: Apache-2.0
"""Debian's Chromium, headless, driven by selenium. Each browser has a profile of its own, so two of them are two people."""

import shutil

from ports import free_port
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from stage import make_directory

_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --disable-dev-shm-usage --window-size=1200,900"
).split()


class Browser:
    def __init__(self, *more_flags):
        self.profile = make_directory("mod_sse-chromium-")
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in [*_FLAGS, *more_flags, "--user-data-dir=%s" % self.profile]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver", port=free_port()), options=options)
        self.driver.set_page_load_timeout(30)
        self.driver.set_script_timeout(30)

    def console(self):
        return self.driver.get_log("browser")

    def close(self):
        try:
            self.driver.quit()
        finally:
            shutil.rmtree(self.profile, ignore_errors=True)
