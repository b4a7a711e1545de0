"""Jobs are found, grouped and opened in the browser; what is shown has an address that can be pasted into a chat."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from dashboard.site import TOKEN
from eventspool.integrations.dashboard import create_app

from .conftest import DESK, PHONE, WINDOWS

pytestmark = pytest.mark.rotating("browser", turns=3)

MANY = 120


def event(name, user, number):
    fields = {
        "type": "track",
        "event": name,
        "userId": user,
        "messageId": f"m-{number}",
        "timestamp": "2026-11-30T21:00:00.000Z",
        "properties": {"total": number * 1.5, "currency": "EUR", "note": 'a "quoted" Straße'},
    }
    return json.dumps(fields, ensure_ascii=False).encode()


@pytest.fixture
def searched(queue, fail, enqueue, serve):
    """Failed jobs for eight reasons, most of them rejected; each tenth of these is an order."""
    names = ["Order Completed" if n % 10 == 0 else "Product Viewed" for n in range(MANY)]
    fail("rejected", *(event(name, f"user-{n % 7}", n) for n, name in enumerate(names)))
    for n, reason in enumerate(
        ("max_attempts", "stalled", "too_large", "corrupt", "unsupported", "encrypted", "missing")
    ):
        fail(reason, event("Signed Up", "user-9", 1000 + n))
    enqueue([("Order Completed", {"waits": True})])
    return serve(create_app(queue, token=TOKEN, name="orders"))


def test_what_failed_is_searched_and_the_link_shows_the_same(searched, visit, picture):
    pages = {window: visit(searched.url, window) for window in WINDOWS}
    page = pages[DESK]
    page.keyboard.press("2")
    page.locator(".jobs .job").nth(49).wait_for()
    expect(page.locator(".group")).to_have_count(3)
    list_top = page.locator(".list-card").bounding_box()["y"]
    assert list_top < 560, "it begins high on the page, although there are eight reasons"
    page.get_by_role("button", name="Show 5 more reasons").click()
    expect(page.locator(".group")).to_have_count(8)
    page.get_by_role("button", name="Fold the reasons").click()

    page.keyboard.press("/")
    page.keyboard.type('event:"Order Completed" user:user-4')
    page.keyboard.press("Enter")
    page.get_by_text(f"Looked at all {MANY + 7} jobs, found 1").wait_for()
    expect(page.locator(".jobs .job")).to_have_count(1)
    expect(page.locator(".job-title")).to_have_text("Order Completed · user-4")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.locator(".detail .json", has_text="Order Completed").wait_for()
    link = page.url
    assert "#/jobs?state=failed&event=Order+Completed&user_id=user-4&job=" in link
    assert TOKEN not in link

    for other in (pages[PHONE], pages["dark"]):
        other.goto(link)
        other.locator(".detail .json", has_text="Order Completed").wait_for()
        expect(other.locator(".jobs .job")).to_have_count(1)
        assert other.get_by_role("searchbox").input_value() == 'event:"Order Completed" user:user-4'
    picture("searched", pages)
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Waiting").click()
    page.get_by_text("Nothing found").wait_for()
    page.keyboard.press("/")
    page.keyboard.type('event:"Order Completed"\n')
    expect(page.locator(".jobs .job")).to_have_count(1)
    page.get_by_role("tab", name="All").click()
    expect(page.locator(".jobs .job")).to_have_count(1 + MANY // 10)
    picture("searched-all", {DESK: page})


def test_a_text_is_found_however_it_is_written(searched, visit):
    page = visit(f"{searched.url}#/jobs?state=failed&text=STRASSE")
    page.get_by_text("Looked at").wait_for()
    expect(page.locator(".jobs .job").first).to_be_visible()
    page.goto(f"{searched.url}#/jobs?state=failed&text=a+%22quoted%22")
    expect(page.locator(".jobs .job").first).to_be_visible()
    page.get_by_role("button", name="Look on").click()
    expect(page.locator(".jobs .job")).to_have_count(MANY + 7)
    page.goto(f"{searched.url}#/jobs?state=failed&text=of+nothing")
    page.get_by_text("Nothing found").wait_for()


def test_failures_are_grouped_by_event_and_error_with_their_times(searched, visit, picture):
    pages = {window: visit(f"{searched.url}#/jobs?state=failed", window) for window in WINDOWS}
    for page in pages.values():
        page.get_by_text("By event and error").click()
        page.locator(".causes tbody tr").nth(8).wait_for()
        page.locator(".by-cause").get_by_text(f"Looked at all {MANY + 7} jobs").wait_for()
    picture("causes", pages)
    page = pages[DESK]
    row = page.locator(".causes tbody tr", has_text="Order Completed")
    assert "ago" in row.inner_text()
    assert row.locator(".number").inner_text() == str(MANY // 10)
    row.get_by_role("button").click()
    expect(page.locator(".jobs .job")).to_have_count(MANY // 10)
    assert "event=Order+Completed" in page.url
    assert "reason=rejected" in page.url


def test_a_job_that_is_open_is_in_view_with_its_life_and_as_curl(searched, visit, picture):
    page = visit(f"{searched.url}#/jobs?state=failed")
    page.get_by_text("By event and error").click()
    page.locator(".causes tbody tr").nth(8).wait_for()
    page.locator(".jobs .job").nth(1).click()
    detail = page.locator(".detail")
    detail.locator(".json").wait_for()
    box = detail.locator(".json").bounding_box()
    assert 0 < box["y"] < 600, "the event is above the fold"
    expect(detail.locator(".life li")).to_have_count(3)
    assert "Failed for good: rejected" in detail.locator(".life").inner_text()
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    detail.get_by_role("button", name="Copy as curl").click()
    assert '"$EVENTSPOOL_DATA_PLANE_URL/' in page.evaluate("window.copied")
    detail.get_by_role("button", name="Copy link").click()
    assert page.evaluate("window.copied") == page.url
    picture("opened", {DESK: page})


def test_what_was_found_is_retried_and_nothing_else(searched, queue, visit):
    page = visit(f"{searched.url}#/jobs?state=failed&event=Order+Completed&user_id=user-4")
    page.get_by_role("button", name="Retry the 1 found").click()
    page.locator(".toast", has_text="1 job back in the queue").wait_for()
    page.get_by_text("Nothing found").wait_for()
    assert queue.stats().failed.jobs == MANY + 6


def test_a_link_to_a_job_that_is_gone_says_so(searched, visit):
    page = visit(f"{searched.url}#/jobs?state=failed&job=nope")
    page.locator(".toast", has_text="no longer here").wait_for()
    assert "job=" not in page.url
