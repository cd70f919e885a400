"""A dashboard that is served as users start it, and a real browser that looks at it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecommerce_platform_tests.invented_shop import publish_shop
from ecommerce_platform_tests.leftout import leave_out

#: How long a page may take to show what it has, in milliseconds, on a busy machine.
PATIENCE = 60_000


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program; tests are left out where there is none."""
    found = os.environ.get("ECOMMERCE_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        leave_out("there is no chromium", "apt-get install chromium, or set ECOMMERCE_TEST_CHROMIUM")
    return found


class Served:
    """A running dashboard: its address, the link that signs a browser in, and the command that serves it."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://localhost:{self.port}"
        self.log = folder / "dashboard.log"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("ECOMMERCE_", "DAGSTER_"))}
        self.environment = {
            **clean,
            "ECOMMERCE_DATA_DIR": str(folder),
            "DAGSTER_HOME": str(folder / "home"),
            "COLUMNS": "300",
        }
        self.program = str(Path(sys.executable).with_name("ecommerce"))
        self.out = self.log.open("wb")
        self.process = subprocess.Popen(
            [self.program, "dashboard", "--port", str(self.port)],
            env=self.environment, stdout=self.out, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def wait(self) -> Served:
        """Until it answers."""
        until = time.monotonic() + 90
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.2)
        raise AssertionError(self.log.read_text())

    def link(self) -> str:
        """The one-time link that it printed."""
        found = re.search(r"http://\S+/-/link\?t=\S+", self.log.read_text())
        assert found, self.log.read_text()
        return found[0]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.out.close()


@pytest.fixture(scope="session")
def served(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("looked_at")
    publish_shop(folder / "published")
    server = Served(folder)
    try:
        yield server.wait()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(scope="session")
def signed_in(browser: Any, served: Served) -> Any:
    """The cookies of a browser that opened the one-time link."""
    context = browser.new_context()
    context.new_page().goto(served.link())
    state = context.storage_state()
    context.close()
    return state


class Look:
    """A browser's page, and what tests do with it."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        page.set_default_timeout(PATIENCE)
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, path: str = "", **parameters: str) -> Look:
        query = "&".join(f"{k}={v}" for k, v in parameters.items())
        self.page.goto(f"{self.url}/{path}" + (f"?{query}" if query else ""))
        return self.settled()

    def settled(self) -> Look:
        """Once the page has run to its end."""
        self.page.wait_for_selector("h1")
        self.page.wait_for_function(
            "() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState !== 'running'"
        )
        return self

    def card(self, label: str) -> str:
        card = self.page.locator("[data-testid=stMetric]", has_text=label).first
        return str(card.locator("[data-testid=stMetricValue]").inner_text()).strip()

    def choose(self, label: str, option: str) -> Look:
        """Chooses in a select box, by the keyboard."""
        box = self.page.get_by_role("combobox", name=re.compile(label))
        box.click()
        self.page.get_by_role("option", name=option, exact=True).click()
        return self.settled()


@pytest.fixture
def look(browser: Any, served: Served, signed_in: Any) -> Iterator[Look]:
    context = browser.new_context(
        storage_state=signed_in, viewport={"width": 1360, "height": 900}, accept_downloads=True
    )
    found = Look(context.new_page(), served.url)
    yield found
    context.close()
    assert not found.errors


@pytest.fixture
def phone(browser: Any, served: Served, signed_in: Any) -> Iterator[Look]:
    context = browser.new_context(
        storage_state=signed_in, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True
    )
    found = Look(context.new_page(), served.url)
    yield found
    context.close()
    assert not found.errors
