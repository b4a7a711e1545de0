"""Several queues in the browser: the list, the way into a queue and to another, and charts that begin with the past."""

from __future__ import annotations

import re
import sqlite3
import time

import pytest
from playwright.sync_api import expect

from dashboard.site import KEY, TOKEN, Site
from eventspool import Client, open_queue
from eventspool._config import QueueOpts
from eventspool._history import JOURNAL, KEPT, Minute, write_minute
from eventspool._operate.awaited import await_queue
from eventspool.integrations.dashboard import create_app

from .conftest import DARK, DESK, PHONE

pytestmark = pytest.mark.rotating("browser", turns=3)

LONG = "team-b.orders-with-a-very-long-name-that-nobody-would-choose-but-somebody-has"


@pytest.fixture
def several(tmp_path, queue, enqueue, fail):
    enqueue([("A", {})] * 3)
    fail("rejected", b"{}", b"{}")
    away = await_queue(QueueOpts(url="redis://127.0.0.1:1"), lambda absence: None, waits=True)
    url = f"sqlite:///{tmp_path}/clicks.db"
    with Client(KEY, process=False, persistence=QueueOpts(url=url, queue_name=LONG)) as client:
        assert client.track("u1", "A")
    with open_queue(url, LONG) as clicks, away:
        clicks.purge("waiting")  # it was used, and nothing is left in it
        yield {LONG: clicks, "orders": queue, "away": away}


def noted(path: str, queue, minutes: int) -> None:
    """Have the queue remember so many minutes, ten events each."""
    for number in range(minutes):
        lag = 0.1 + number % 7 / 10
        note = Minute(number, 0, 1, 100, 1.0, 1, 600 * number, 590 * number, 0, lag, lag * 2, lag * 3)
        queue._backend.append(JOURNAL, write_minute(note), most=KEPT)
    with sqlite3.connect(path) as db:
        db.execute(
            "update journals set at = ? - (? - position) * 60000000", (int(time.time() * 1e6), minutes)
        )
    db.close()


def test_the_worst_queue_comes_first_and_leads_into_itself_and_on(serve, several, visit, picture):
    site: Site = serve(create_app(several, token=TOKEN))
    pages = {window: visit(site.url, window) for window in (DESK, PHONE, DARK)}
    for window, page in pages.items():
        page.get_by_role("heading", name="2 of 3 queues need a look").wait_for()
        expect(page.locator(".queues tbody a")).to_have_text(["away", "orders", LONG])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), window
    picture("queues", pages)

    page = pages[DESK]
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/q/orders/")
    switch = page.get_by_label("Queue", exact=True)
    expect(switch.locator("option")).to_have_count(3)
    expect(switch).to_have_value("orders")
    picture("one-of-several", {DESK: page})
    switch.select_option(label=LONG)
    page.wait_for_url(f"**/q/{LONG}/")
    expect(page.get_by_label("Queue", exact=True)).to_have_attribute("title", LONG)
    page.locator("main").focus()
    page.keyboard.press("0")
    page.get_by_role("heading", name="2 of 3 queues need a look").wait_for()


def test_text_of_the_list_can_be_read_in_light_and_dark(serve, several, visit):
    site: Site = serve(create_app(several, token=TOKEN))
    for window in (DESK, DARK):
        page = visit(site.url, window)
        page.get_by_role("heading", name="queues need a look").wait_for()
        worst = page.evaluate(
            """() => {
              const parse = (text) => text.match(/[\\d.]+/g).map(Number);
              const linear = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
              const light = (colour) =>
                [0.2126, 0.7152, 0.0722].reduce((sum, part, i) => sum + part * linear(colour[i] / 255), 0);
              const ground = (e) => {
                for (; e; e = e.parentElement) {
                  const colour = parse(getComputedStyle(e).backgroundColor);
                  if (colour.length < 4 || colour[3] > 0.99) return colour;
                }
              };
              let worst = 21;
              for (const e of document.querySelectorAll("main *, .side *")) {
                if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility()) continue;
                const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
                worst = Math.min(worst, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
              }
              return worst;
            }"""
        )
        assert worst >= 4.5, window


def test_charts_begin_with_what_the_queue_has_noted(serve, queue, tmp_path, enqueue, visit, picture):
    enqueue([("A", {})])
    noted(f"{tmp_path}/queue.db", queue, 1440)
    site: Site = serve(create_app(queue, token=TOKEN))
    points = site.get("/api/history?span=86400").json["points"]
    assert 200 < len(points) <= 241
    assert {round(point["into"]) for point in points if point["into"] is not None} == {10}
    page = visit(site.url)
    page.get_by_text("Accepted to delivered").wait_for()
    line = page.locator(".chart .line.into")
    expect(line).to_have_attribute("d", re.compile(r"L[^L]*L[^L]*L"))
    page.get_by_role("button", name="24 h").click()
    expect(line).to_have_attribute("d", re.compile(r"(?:L[^L]+){200}"))
    picture("day", {DESK: page})


def test_nothing_is_changed_over_figures_that_are_old(serve, queue, fail, visit):
    fail("rejected", b"{}")
    site: Site = serve(create_app(queue, token=TOKEN))
    page = visit(f"{site.url}#/failures", expected="Failed to load resource")
    purge = page.get_by_role("button", name="Purge all").first
    expect(purge).to_be_enabled()
    page.route("**/api/overview*", lambda route: route.abort())
    expect(purge).to_be_disabled()
    page.unroute("**/api/overview*")
    expect(purge).to_be_enabled()
