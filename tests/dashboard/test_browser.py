"""
The page, in a browser: what whoever is on call does, and what an attacker would have happen.

Needs Chromium (``EVENTSPOOL_TEST_CHROMIUM`` or on PATH). Pictures go to ``EVENTSPOOL_TEST_PICTURES``, to be looked at.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect, sync_playwright

from eventspool import Client, JobOpts, QueueOpts, QueueUnavailable, open_queue
from eventspool._backends import create_backend
from eventspool._job import Settlement, SettlementKind
from eventspool._redis_server import RedisServer
from eventspool.integrations.dashboard import create_app

from . import hostile
from .conftest import KEY, TOKEN, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

    from eventspool.testing import DataPlane

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
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
        context.set_default_timeout(10_000)
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


def test_on_call(serve, plane: DataPlane, visit, picture):
    """Watch events flow, break the data plane, see it within 3 s, read a failed event, retry it, see it delivered."""
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
                time.sleep(
                    float((os.environ.get("EVENTSPOOL_TEST_PICTURES") and 12) or 1)
                )  # for the pictures: a curve needs points
                picture("overview", pages)

                plane.script("status=503")
                broken = time.monotonic()
                page.locator(".verdict.warn, .verdict.bad").wait_for(timeout=3_000)
                seen = time.monotonic() - broken
                page.get_by_role("heading", name="The data plane takes no events").wait_for()
                page.locator(".legend", has_text="503").wait_for()
                picture("broken", pages)
                print(f"seen after {seen:.1f} s")
                assert seen < 3

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
            assert plane.wait_for(lambda _: plane.received(key) == 1, timeout=5)

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


def go(pages: dict[str, Page], name: str) -> None:
    for page in pages.values():
        page.keyboard.press("Escape")
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        page.get_by_role("heading", level=1).wait_for()


def test_nothing_of_an_event_runs(serve, plane: DataPlane, queue, opts, deliver, visit, picture):
    """The corpus, as failed jobs and in the inbox; every event is opened, shown whole, and found by a search."""
    with Client(
        KEY, process=False, persistence=opts, max_event_bytes=4_000_000, max_batch_bytes=8_000_000
    ) as client:
        for number, (name, properties) in enumerate([*hostile.events(), hostile.huge()]):
            assert client.track(f"<b>{number}</b>", name, properties, message_id=f"<i>'\"{number}</i>")
            assert client.flush(until="persisted", timeout=10).pending == 0
    many = len(hostile.TEXTS) + 6
    plane.script(
        {"status": 404, "body": f"<script>{hostile.MARK}</script><img src=x onerror={hostile.MARK}>"}
    )
    deliver()
    plane.script()
    assert queue.stats().failed.events == many
    site: Site = serve(
        create_app(queue, token=TOKEN, name=f"<img src=x onerror={hostile.MARK}>", dataplane=plane.url)
    )
    page = visit(f"{site.url}#/failures")
    page.locator(".jobs .job").nth(many - 1).wait_for()
    for number in range(many):
        page.locator(".jobs .job").nth(number).click()
        page.locator(".jobs li.open").wait_for()
        page.locator(".detail .json").wait_for()
        for hidden in (".detail details:not([open]) > summary", ".detail .more"):
            page.evaluate(
                "selector => document.querySelectorAll(selector).forEach((each) => each.click())", hidden
            )
    picture("hostile", {DESK: page})
    unharmed(page)

    assert queue.retry_failed() == many
    deliver()
    page.get_by_role("navigation").get_by_role("link", name="Events").click()
    page.locator(".inbox .job").nth(many - 1).wait_for()
    for number in range(many):
        page.locator(".inbox .job").nth(number).click()
        page.locator(".inbox li.open").wait_for()
        page.locator(".life li", has_text="Sent: 200, taken").wait_for()
    page.get_by_role("searchbox").fill(hostile.TEXTS[0])
    page.locator(".inbox li").nth(many - 1).wait_for(state="detached")
    page.evaluate("location.hash = '#/<img src=x onerror=alert(1)>'")
    unharmed(page)


def unharmed(page: Page) -> None:
    """Nothing ran, nothing was added to the page but text, and no prototype was changed."""
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("({}).polluted") is None
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    foreign = "main img, main iframe, main script, main style, main template, main [onerror], main [onload], aside img"
    assert page.locator(foreign).count() == 0
    assert page.locator("a[href^='javascript'], a[href^='data'], a[href^='http']").count() == 0


def test_the_browser_itself_refuses_what_the_page_would_never_do(serve, queue, browser):
    """The second line: were the page to have a hole, the policy would still run nothing."""
    site: Site = serve(create_app(queue, token=TOKEN))
    context = browser.new_context()
    page = context.new_page()
    page.goto(site.url)
    page.get_by_role("heading", name="The queue is empty").wait_for()
    attempts = {
        "document.body.innerHTML = '<img src=x onerror=\"window.pwned=1\">'": "TrustedHTML",
        "document.createElement('script').text = 'window.pwned=1'": "TrustedScript",
        "document.createElement('a').setAttribute('onclick', 'window.pwned=1')": "TrustedScript",
        "document.createElement('iframe').srcdoc = '<script>parent.pwned=1</script>'": "TrustedHTML",
    }
    for code, kind in attempts.items():
        said = page.evaluate(
            f"() => {{ try {{ {code}; return 'it ran' }} catch (error) {{ return error.message }} }}"
        )
        assert kind in said, (code, said)
    page.evaluate("() => { location.href = 'javascript:window.pwned=1' }")
    assert page.evaluate("window.pwned") is None
    context.close()


def test_everything_can_be_done_by_keyboard(serve, queue, failed, plane, visit):
    site: Site = serve(create_app(queue, token=TOKEN, dataplane=plane.url))
    page = visit(site.url)
    page.get_by_role("heading", name="failed for good").wait_for()
    page.keyboard.press("2")
    page.locator(".jobs .job").nth(1).wait_for()
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.matches('.jobs li:nth-child(2) .job')")
    page.keyboard.press("Enter")
    page.locator(".detail .json").first.wait_for()
    page.keyboard.press("Escape")
    page.locator(".detail").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.matches('.job')")
    page.get_by_role("tab", name="Failed").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_text("Nothing is being retried").wait_for()
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Purge all").focus()
    page.keyboard.press("Enter")
    page.keyboard.type("purg")
    page.keyboard.press("Enter")
    assert page.get_by_role("dialog").is_visible()
    assert queue.stats().failed.jobs == 2
    page.keyboard.type("e")
    page.keyboard.press("Enter")
    page.get_by_text("Nothing failed").wait_for()
    assert queue.stats().failed.jobs == 0
    page.keyboard.press("3")
    page.get_by_role("heading", name="Events", exact=True).wait_for()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard").wait_for()


def test_a_retry_counts_down_and_can_be_had_at_once(serve, enqueue, queue, opts, plane, visit, picture):
    enqueue(*[[(f"Event {number}", {})] * (number + 1) for number in range(4)])
    backend = create_backend(opts)
    backend.open()
    jobs = backend.claim("t", limit=4, visibility_timeout=60).jobs
    retries = [Settlement(job.id, SettlementKind.RETRY, delay=40.0 + 700 * n) for n, job in enumerate(jobs)]
    assert backend.settle("t", retries) == [True] * 4
    backend.close()
    site: Site = serve(create_app(queue, token=TOKEN, name="orders", dataplane=plane.url))
    page = visit(site.url)
    page.keyboard.press("2")
    page.get_by_role("tab", name="Retrying").click()
    when = page.locator(".job-when").first
    expect(when).to_have_text(re.compile(r"in (39|40) s"))
    expect(when).to_have_text(re.compile(r"in (37|38) s"))
    page.locator(".job", has_text="1 failed attempt").first.click()
    page.locator(".detail .json", has_text="Event 0").wait_for()
    picture("retrying", {DESK: page})
    page.keyboard.press("r")
    page.locator(".jobs .job").nth(3).wait_for(state="detached")
    assert queue.stats().delayed.jobs == 3
    page.get_by_role("button", name="Retry all now").click()
    page.get_by_text("Nothing is being retried").wait_for()
    assert queue.stats().waiting.jobs == 4


def test_what_is_missing_is_explained(serve, queue, visit, picture):
    """An empty queue, no local data plane, no token: each says what to do next."""
    site: Site = serve(create_app(queue, token=TOKEN, name="orders"))
    page = visit(site.url)
    page.get_by_text("eventspool worker").wait_for()
    page.keyboard.press("2")
    page.get_by_text("Nothing failed").wait_for()
    page.keyboard.press("3")
    page.get_by_text("eventspool dashboard --dataplane").wait_for()
    picture("events-without", {DESK: page})
    stranger = visit(site.url.partition("?")[0], expected="401 (Unauthorized)")
    stranger.get_by_role("heading", name="This dashboard needs its token").wait_for()
    picture("signin", {DESK: stranger})
    stranger.get_by_label("Token").fill(TOKEN)
    stranger.get_by_role("button", name="Continue").click()
    stranger.get_by_role("heading", name="The queue is empty").wait_for()
    assert TOKEN not in stranger.url


def test_what_is_copied_sends_the_event_again(serve, enqueue, deliver, queue, plane, visit):
    enqueue([('It\'s "quoted" $HOME `id`', {"a": "<b>"})])
    deliver()
    site: Site = serve(create_app(queue, token=TOKEN, dataplane=plane.url))
    page = visit(site.url)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.keyboard.press("3")
    page.locator(".inbox .job").click()
    page.get_by_role("button", name="Copy as curl").click()
    page.get_by_text("Copied as curl").wait_for()
    command = page.evaluate("navigator.clipboard.readText()")
    before = plane.events[-1]
    # In place of curl, which a machine need not have: what a shell makes of the command.
    script = f"curl() {{ '{sys.executable}' -c 'import json, sys; print(json.dumps(sys.argv[1:]))' \"$@\"; }}\n{command}"
    env = {**os.environ, "EVENTSPOOL_WRITE_KEY": KEY}
    said = subprocess.run(
        ["/bin/sh", "-c", script], check=True, capture_output=True, text=True, env=env
    ).stdout
    arguments = json.loads(said)
    options = dict(zip(arguments[:-1:2], arguments[1:-1:2], strict=True))
    assert options["-u"] == f"{KEY}:"
    login = base64.b64encode(options["-u"].encode()).decode()
    content_type = options["-H"].removeprefix("Content-Type: ")
    headers = {"Authorization": f"Basic {login}", "Content-Type": content_type}
    request = urllib.request.Request(arguments[-1], options["-d"].encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
    assert plane.received(before["messageId"]) == 2
    assert plane.events[-1] == before


def test_on_a_phone_nothing_is_cut_off(serve, queue, failed, plane, visit, picture):
    site: Site = serve(
        create_app(
            queue, token=TOKEN, name="a-rather-long-name-of-a-queue-in-production", dataplane=plane.url
        )
    )
    page = visit(site.url, PHONE)
    for name in ("Overview", "Failures", "Events"):
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        page.get_by_role("heading", level=1).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        picture(f"phone-{name.lower()}", {PHONE: page})


def test_pausing_is_a_button(serve, queue, visit):
    site: Site = serve(create_app(queue, token=TOKEN))
    page = visit(site.url)
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("heading", name="Delivery is paused").wait_for()
    assert queue.stats().paused
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("heading", name="The queue is empty").wait_for()
    assert not queue.stats().paused


def test_when_the_queue_is_gone_the_page_says_so_and_recovers(serve, queue, visit, monkeypatch):
    def gone() -> None:
        raise QueueUnavailable("Redis does not answer")

    site: Site = serve(create_app(queue, token=TOKEN))
    page = visit(site.url, expected="503 (Service Unavailable)")
    page.get_by_role("heading", name="The queue is empty").wait_for()
    with monkeypatch.context() as patch:
        patch.setattr(queue, "stats", gone)
        page.get_by_role("heading", name="The queue cannot be reached").wait_for()
        page.get_by_text("Redis does not answer").wait_for()
    page.get_by_role("heading", name="The queue is empty").wait_for()


def test_a_read_only_page_offers_no_change(serve, queue, failed, plane, visit):
    site: Site = serve(create_app(queue, token=TOKEN, read_only=True, dataplane=plane.url))
    page = visit(site.url)
    page.get_by_text("Read-only").wait_for()
    assert page.get_by_role("button", name="Pause").count() == 0
    page.keyboard.press("2")
    page.locator(".jobs .job").first.click()
    page.locator(".detail .json").wait_for()
    assert page.get_by_role("button", name="Retry").count() == 0
    assert page.get_by_role("button", name="Purge").count() == 0
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    page.get_by_role("button", name="Down").wait_for()
    assert page.get_by_role("button", name="Down").is_disabled()
