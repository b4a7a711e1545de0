"""The person on call, in the browser: from the first event over an outage to the last one delivered."""

from __future__ import annotations

import itertools
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from dashboard.site import KEY, TOKEN, Site
from eventspool import Client, JobOpts, QueueOpts, open_queue
from eventspool._redis_server import RedisServer
from eventspool.integrations.dashboard import create_app

from .conftest import DARK, DESK, PHONE, WINDOWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page, Request

    from eventspool.testing import DataPlane

pytestmark = pytest.mark.rotating("browser", turns=3)


@contextmanager
def traffic(
    client: Client, names: tuple[str, ...] = ("Order Completed", "Product Viewed", "Signed Up")
) -> Iterator[None]:
    """Track about forty events a second meanwhile."""
    stop = threading.Event()

    def track() -> None:
        for number in itertools.count():
            if stop.wait(0.025):
                return
            properties = {
                "total": number * 37 % 9000 / 100,
                "currency": "EUR",
                "items": [{"sku": f"CD-{number % 9}", "n": 1}],
            }
            client.track(f"user-{number * 7 % 23}", names[number * 5 % len(names)], properties)

    thread = threading.Thread(target=track)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def looks_of(page: Page) -> Iterator[list[str]]:
    """List the looks at the queue, one a second, that are answered to *page* meanwhile."""
    looks: list[str] = []

    def note(request: Request) -> None:
        if "/api/overview" in request.url:
            looks.append(request.url)

    page.on("requestfinished", note)
    yield looks
    page.remove_listener("requestfinished", note)


def test_on_call(serve, plane: DataPlane, visit, picture):
    """Watch events flow, break the data plane, see it at the next looks, read a failed event, retry it, see it delivered."""
    job_opts = JobOpts(max_attempts=2, backoff_initial=0.3, backoff_max=0.6)
    with RedisServer() as server, open_queue(server.url) as queue:
        opts = QueueOpts(url=server.url, is_multi_processor=True, job_opts=job_opts)
        site: Site = serve(create_app(queue, token=TOKEN, name="hightouchEventsQueue", dataplane=plane.url))
        pages: dict[str, Page] = {window: visit(site.url, window) for window in WINDOWS}
        page = pages[DESK]
        page.get_by_text("The queue is empty").wait_for()
        with Client(KEY, data_plane_url=plane.url, persistence=opts, flush_interval=0.1) as client:
            with traffic(client):
                page.get_by_role("heading", name="Events flow").wait_for()
                page.locator(".legend", has_text="200").wait_for()
                assert "token" not in page.url
                if "EVENTSPOOL_TEST_PICTURES" in os.environ:
                    time.sleep(12)  # a curve needs points
                page.locator(".processors tbody tr", has_text="now").wait_for()
                page.locator(".chart-box").hover()
                page.locator(".reading", has_text="/s").wait_for()
                picture("overview", pages)

                page.locator(".verdict.ok").wait_for()
                plane.script("status=503")
                while not (queue.stats().delayed.jobs or queue.stats().failed.jobs):
                    page.wait_for_timeout(20)
                with looks_of(page) as looks:
                    page.locator(".verdict.warn, .verdict.bad").wait_for()
                # One look was perhaps under way, the next may share the answer of another page, and one may see the moment
                # in which all that failed is being tried again.
                assert len(looks) <= 4
                page.get_by_role("heading", name="The data plane takes no events").wait_for()
                page.locator(".legend", has_text="503").wait_for()
                picture("broken", pages)

                plane.script("reject=batch,event=Signed Up")
                page.get_by_role("heading", name="for good").or_(
                    page.get_by_role("heading", name="Some requests fail")
                ).wait_for()
            client.flush(timeout=20)
            go(pages, "Failures")
            page.locator(".group", has_text="rejected").wait_for()
            for each in pages.values():
                each.locator(".job", has_text="rejected").first.click()
                each.locator(".json", has_text="Signed Up").wait_for()
            picture("failed", pages)
            for name in (PHONE, DARK):
                pages[name].keyboard.press("Escape")

            plane.script()
            key = page.locator(".json").first.inner_text().split('"messageId": "')[1].split('"')[0]
            assert plane.received(key) == 0
            page.keyboard.press("r")
            page.locator(".toast", has_text="1 job back in the queue").wait_for()
            assert plane.wait_for(lambda _: plane.received(key) == 1, timeout=30)

            go(pages, "Events")
            page.get_by_role("searchbox").fill(key)
            page.locator(".inbox li").nth(1).wait_for(state="detached")
            page.locator(".inbox .job").click()
            page.locator(".life", has_text="taken").wait_for()
            assert page.locator(".life li", has_text="Sent: 400, not taken").count() >= 1
            assert page.locator(".life li", has_text="Sent: 200, taken").count() == 1
            for name in (PHONE, DARK):
                pages[name].locator(".inbox .job").first.click()
                pages[name].locator(".life").wait_for()
            picture("event", pages)

            go(pages, "Failures")
            page.get_by_role("button", name="Retry all").last.click()
            page.locator(".toast", has_text="back in the queue").last.wait_for()
            go(pages, "Overview")
            page.get_by_role("heading", name="All is delivered").or_(
                page.get_by_role("heading", name="Events flow")
            ).wait_for()
            picture("healed", pages)
        assert queue.stats().failed.jobs == 0
        for each in pages.values():
            each.close()  # before the server ends, which they would complain of


def go(pages: dict[str, Page], name: str) -> None:
    for page in pages.values():
        page.keyboard.press("Escape")
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        page.get_by_role("heading", level=1).wait_for()
