"""
A browser: headless Chromium (``EVENTSPOOL_TEST_CHROMIUM``, or one on PATH), with everything that may go wrong watched.

Pictures go to ``EVENTSPOOL_TEST_PICTURES``, to be looked at; where that is not set they are only drawn.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 30.0
"""Seconds for what a page shows within two, where the machine is not busy."""
expect.set_options(timeout=PATIENCE * 1000)
DESK, PHONE, DARK = "desk", "phone", "dark"
WINDOWS: dict[str, dict[str, Any]] = {
    DESK: {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"},
    PHONE: {
        "viewport": {"width": 390, "height": 844},
        "color_scheme": "light",
        "device_scale_factor": 2,
        "has_touch": True,
    },
    DARK: {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark", "reduced_motion": "reduce"},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = (
        os.environ.get("EVENTSPOOL_TEST_CHROMIUM")
        or shutil.which("chromium")
        or shutil.which("google-chrome")
    )
    assert found, (
        "no Chromium: set EVENTSPOOL_TEST_CHROMIUM, or install one (Debian: apt-get install chromium)"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a URL in a new window. Whatever the page complains of, or says in a dialog, fails the test."""
    complaints: list[str] = []
    contexts = []

    def visit(url: str, window: str = DESK, expected: str | None = None) -> Page:
        context = browser.new_context(**WINDOWS[window])
        context.set_default_timeout(PATIENCE * 1000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"{window}: {error}"))

        def hear(message: Any) -> None:
            if message.type in ("error", "warning") and not (expected and expected in message.text):
                complaints.append(f"{window}: {message.text}")

        page.on("console", hear)

        def dismiss(dialog: Any) -> None:
            complaints.append(f"{window}: dialog {dialog.message}")
            dialog.dismiss()

        page.on("dialog", dismiss)
        page.on("popup", lambda popup: complaints.append(f"{window}: popup {popup.url}"))
        own = url.partition("?")[0]
        page.on(
            "request",
            lambda r: complaints.append(f"{window}: asked {r.url}") if not r.url.startswith(own) else None,
        )
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def picture() -> Callable[[str, dict[str, Page]], None]:
    folder = Path(os.environ.get("EVENTSPOOL_TEST_PICTURES") or "pictures")

    def picture(name: str, pages: dict[str, Page]) -> None:
        if "EVENTSPOOL_TEST_PICTURES" not in os.environ:
            for page in pages.values():
                assert len(page.screenshot()) > 5_000  # it can be drawn
            return
        folder.mkdir(parents=True, exist_ok=True)
        for window, page in pages.items():
            page.screenshot(path=folder / f"{name}-{window}.png")

    return picture


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")
            item.add_marker(pytest.mark.timeout(180))
