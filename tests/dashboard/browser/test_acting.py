"""What an operator does in the browser besides retrying: mend an event, try a few first, and see who did what."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from dashboard.site import KEY
from eventspool import Client
from eventspool._dashboard.tokens import TokenFile
from eventspool.integrations.dashboard import create_app

from .conftest import DARK, DESK, PHONE, WINDOWS

pytestmark = pytest.mark.rotating("browser", turns=3)


@pytest.fixture
def tokens(tmp_path):
    file = TokenFile(tmp_path / "tokens.json")
    return {name: file.add(name, read_only=name == "guest", now=1.0) for name in ("ann", "bob", "guest")}


@pytest.fixture
def shown(serve, queue, tmp_path, tokens, visit):
    """Return the dashboard as a person sees it in a window."""
    site = serve(create_app(queue, token=None, tokens=tmp_path / "tokens.json", name="orders"))
    return lambda who, window=DESK, **more: visit(
        f"http://127.0.0.1:{site.port}/?token={tokens[who]}", window, **more
    )


def poison(number):
    fields = {"type": "track", "event": f"Order {number}", "userId": "u1", "messageId": f"id-{number}"}
    return json.dumps({**fields, "properties": {"total": "12,50"}}).encode()


def test_a_poison_event_is_mended_and_delivered_by_the_keyboard_alone(
    shown, queue, fail, opts, plane, picture
):
    """Open it, mend it, and see in the trail what was changed."""
    fail("rejected", poison(1))
    plane.script("reject=batch,event=Order 1")
    page = shown("ann", expected="400 (Bad Request)")
    page.keyboard.press("2")
    page.locator(".jobs .job").first.focus()
    page.keyboard.press("Enter")
    button = page.get_by_role("button", name="Edit and send again")
    button.focus()
    page.keyboard.press("Enter")
    box = page.get_by_label("The event, in JSON")
    expect(box).to_be_focused()
    picture("edit", {DESK: page})
    page.emulate_media(color_scheme="dark")
    picture("edit", {DARK: page})
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(WINDOWS[PHONE]["viewport"])
    expect(box).to_be_visible()
    picture("edit", {PHONE: page})
    page.set_viewport_size(WINDOWS[DESK]["viewport"])

    before = box.input_value()
    box.fill(before.replace("id-1", "another"))
    page.keyboard.press("Control+Enter")
    page.get_by_text("the messageId must stay 'id-1'").wait_for()
    expect(box).to_be_focused()
    picture("edit-refused", {DESK: page})
    box.fill(before.replace("Order 1", "Order One"))
    page.keyboard.press("Control+Enter")
    page.locator(".toast", has_text="Edited, and back in the queue").wait_for()
    page.get_by_text("Nothing failed").wait_for()

    with Client(KEY, data_plane_url=plane.url) as client:
        client.create_persistence_queue(opts)
        assert plane.wait_for(lambda stats: stats.unique == 1, timeout=60)
    assert plane.unique_ids() == ["id-1"]
    page.keyboard.press("4")
    page.get_by_text("Edited 1 job").wait_for()
    assert page.locator(".trail .who").inner_text() == "ann"
    page.locator(".trail summary").press("Enter")
    page.locator(".trail .json", has_text='"Order 1"').wait_for()
    page.locator(".trail .json", has_text='"Order One"').wait_for()


def test_the_trail_shows_who_did_what(shown, queue, fail, picture):
    ids = fail("rejected", *[poison(number) for number in range(3)])
    edited = next(job_id for job_id in ids if queue.events(job_id)[0]["messageId"] == "id-1")
    queue.acting_as("ann").retry_failed(ids=[next(job_id for job_id in ids if job_id != edited)])
    mended = json.loads(poison(1)) | {"properties": {"total": 12.5}}
    queue.acting_as("bob").edit(edited, mended)
    queue.acting_as("root@ops-1").pause("the warehouse moves, until 14:00")
    queue.acting_as("root@ops-1").purge(ids=ids)
    pages = {window: shown("guest", window) for window in WINDOWS}
    for page in pages.values():
        page.get_by_role("link", name="Trail").click()
        page.locator(".trail li", has_text="Purged 1 job").wait_for()
        page.locator(".trail li", has_text="the warehouse moves").wait_for()
        page.locator(".trail summary").click()
        page.locator(".trail .json", has_text="12.5").wait_for()
    picture("trail", pages)
    page = pages[DESK]
    rows = page.locator(".trail li")
    assert rows.count() == 4
    queue.acting_as("ann").resume()
    page.locator(".trail li", has_text="Resumed").wait_for()


def test_an_empty_trail_says_what_it_is_for(shown, visit):
    page = shown("ann")
    page.keyboard.press("4")
    page.get_by_text("Nobody did anything yet").wait_for()


def test_a_pause_that_somebody_was_quicker_with_stays(shown, queue):
    """The button was Pause when it was clicked, so neither its question nor the way back ever resumes the queue."""
    page = shown("ann")
    for key in ("Escape", "Enter"):
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("dialog").wait_for()
        queue.acting_as("bob").pause()
        expect(page.locator("#verdict")).to_have_text("Delivery is paused")
        page.keyboard.press(key)
        page.get_by_role("button", name="Resume").wait_for()
        assert queue.stats().paused
        if key == "Escape":
            queue.acting_as("bob").resume()
    page.locator(".toast", has_text="Delivery is paused").wait_for()
    assert [each.action for each in queue.trail()] == ["pause", "pause", "resume", "pause"]


def test_who_may_only_look_is_offered_no_change(shown, queue, fail, picture):
    fail("rejected", poison(1))
    page = shown("guest")
    page.get_by_text("Read-only").wait_for()
    assert page.get_by_role("button", name="Pause").count() == 0
    page.keyboard.press("2")
    page.locator(".jobs .job").first.click()
    page.locator(".detail .json").wait_for()
    for name in ("Retry", "Try 10 first", "Purge", "Edit"):
        assert page.get_by_role("button", name=re.compile(name)).count() == 0
    picture("guest", {DESK: page})


def test_a_revoked_token_ends_the_visit(shown, tmp_path):
    page = shown("bob", expected="401 (Unauthorized)")
    page.get_by_role("heading", name="The queue is empty").wait_for()
    TokenFile(tmp_path / "tokens.json").revoke("bob")
    page.get_by_text("needs its token").wait_for()


def test_ten_go_first_and_the_rest_stays_where_one_is_refused(shown, queue, fail, opts, plane, picture):
    fail("rejected", *[poison(number) for number in range(12)])
    page = shown("ann")
    page.keyboard.press("2")
    [refused] = queue.events(queue.jobs()[3].id)
    plane.script(f"reject=batch,event={refused['event']}")
    with Client(KEY, data_plane_url=plane.url) as client:
        client.create_persistence_queue(opts)
        page.get_by_role("button", name="Try 10 first").click()
        page.get_by_text("The rest was not retried").wait_for()
        picture("first-refused", {DESK: page})
        page.keyboard.press("Escape")
        assert queue.stats().failed.jobs == 3

        page.evaluate("location.hash = '#/failures?state=failed&text=Order'")
        page.get_by_role("button", name="Retry the 3 found").click()
        page.get_by_text(re.compile("1 of these failed since ann retried them")).wait_for()
        page.keyboard.press("Escape")
        page.evaluate("location.hash = '#/failures?state=failed'")
        assert queue.stats().failed.jobs == 3

        page.get_by_role("button", name="Retry all").first.click()
        page.get_by_role("heading", name="Retry all once more?").wait_for()
        page.get_by_text(re.compile("1 of these failed since ann retried them")).wait_for()
        picture("again", {DESK: page})
        plane.script()
        page.keyboard.press("Enter")
        page.get_by_text("All 3 were delivered").wait_for()
        assert plane.wait_for(lambda stats: stats.unique == 12, timeout=60)


def test_nothing_is_asked_where_nothing_was_refused_of_late(shown, queue, fail):
    fail("rejected", poison(1))
    page = shown("ann")
    page.keyboard.press("2")
    page.get_by_role("button", name="Retry all").first.click()
    page.locator(".toast", has_text="1 job back in the queue").wait_for()
