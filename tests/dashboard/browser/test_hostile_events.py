"""Attacks that begin when an operator looks at an event."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dashboard.site import KEY, TOKEN, Site
from eventspool import Client
from eventspool.integrations.dashboard import create_app

from . import hostile
from .conftest import DESK

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from eventspool.testing import DataPlane

pytestmark = pytest.mark.rotating("browser", turns=3)


def test_nothing_of_an_event_runs(serve, plane: DataPlane, queue, opts, deliver, visit, picture):
    """The corpus, as failed jobs and in the inbox; every event is opened, shown whole, and found by a search."""
    with Client(
        KEY, process=False, persistence=opts, max_event_bytes=4_000_000, max_batch_bytes=8_000_000
    ) as client:
        for number, (name, properties) in enumerate([*hostile.events(), hostile.huge()]):
            assert client.track(f"<b>{number}</b>", name, properties, message_id=f"<i>'\"{number}</i>")
            assert client.flush(until="persisted", timeout=60).pending == 0
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
