"""A newcomer's questions, typed into the site's own search, in a browser: the page that answers is among the first three."""

from __future__ import annotations

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from dashboard.browser.conftest import PATIENCE, browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

__all__ = ["browser"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.rotating("the site's search", "all", seldom=True),
]

QUESTIONS = {
    "django event on commit": "frameworks/django",
    "django on_commit": "frameworks/django",
    "why does nothing arrive": "troubleshooting",
    "retry a failed batch": "failed-queue",
    "move to redis": "move-to-redis",
    "test an event": "testing",
    "assert tracked": "testing",
}
"""What is typed -> the page that answers."""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def site(built: Path) -> Iterator[str]:
    """Serve the site, and return its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=built)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def page(browser: Browser, site: str) -> Iterator[Page]:
    """Return the first page of the site in a browser that notes each request to another host."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site)
    yield page
    context.close()
    assert [url for url in asked if not url.startswith((site, "data:", "blob:"))] == []


@pytest.mark.parametrize(("question", "answer"), QUESTIONS.items())
def test_the_answer_is_among_the_first_three(page: Page, site: str, question: str, answer: str) -> None:
    page.goto(f"{site}?q={question}")
    found = page.locator(".md-search-result__item > .md-search-result__link")
    found.first.wait_for()
    links = [str(link.get_attribute("href")) for link in found.all()[:3]]
    first = [link.removeprefix(site).partition("?")[0].partition("#")[0].strip("/") for link in links]

    assert answer in first
