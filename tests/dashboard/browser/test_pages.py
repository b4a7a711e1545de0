"""The page in use: by keyboard, on a phone, read-only, empty, and when the queue is gone."""

from __future__ import annotations

import base64
import json
import os
import re
import sqlite3
import subprocess
import sys
import urllib.request

import pytest
from playwright.sync_api import expect

from dashboard.site import KEY, TOKEN, Site
from eventspool import QueueUnavailable
from eventspool._backends import create_backend
from eventspool._claim import ClaimTerms
from eventspool._job import Settlement, SettlementKind
from eventspool.integrations.dashboard import create_app

from .conftest import DESK, PHONE

pytestmark = pytest.mark.rotating("browser", turns=3)


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
    page.get_by_role("heading", name="Purge 2 jobs?").wait_for()
    page.keyboard.press("Enter")
    assert page.get_by_role("dialog").is_visible()
    assert queue.stats().failed.jobs == 2
    page.keyboard.type("e")
    with page.expect_download():  # what Enter does can be undone
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


def test_a_reason_that_is_gone_no_longer_hides_the_others(serve, queue, fail, visit, picture):
    fail("rejected", b"{}", b"{}")
    fail("max_attempts", b"{}")
    site: Site = serve(create_app(queue, token=TOKEN))
    page = visit(f"{site.url}#/failures")
    group = page.locator(".group", has_text="rejected")
    group.locator(".group-pick").click()
    expect(page.locator(".jobs .job")).to_have_count(2)
    page.locator(".check", has_text="Only “rejected”").wait_for()
    picture("one-reason", {DESK: page})
    group.get_by_role("button", name="Retry all").click()

    expect(group).to_have_count(0)
    expect(page.locator(".jobs .job-why")).to_have_text(re.compile("max_attempts"))


def test_an_empty_list_names_the_reason_that_it_is_narrowed_to(
    serve, queue, fail, visit, monkeypatch, picture
):
    fail("rejected", b"{}")
    fail("max_attempts", b"{}")
    counted = queue.failed_reasons()
    monkeypatch.setattr(queue, "failed_reasons", lambda: counted)  # where much failed, it is counted seldom
    site: Site = serve(create_app(queue, token=TOKEN))
    page = visit(f"{site.url}#/failures")
    retried = site.post(
        "/api/retry", {"state": "failed", "reason": "rejected"}
    )  # so that the list is asked anew
    assert retried.json == {"retried": 1}
    page.locator(".group-pick", has_text="rejected").click()
    page.get_by_text("No job with “rejected” here").wait_for()
    assert page.get_by_text("Nothing failed").count() == 0
    picture("no-such-reason", {DESK: page})
    page.get_by_role("button", name="Show all reasons").click()

    expect(page.locator(".jobs .job")).to_have_count(1)


def test_an_older_answer_is_not_drawn_over_a_newer_one(serve, queue, fail, visit):
    """The list is asked for and its answer is on its way; meanwhile another page retries, and the list is asked for anew."""
    fail("rejected", b"{}")
    fail("max_attempts", b"{}")
    site: Site = serve(create_app(queue, token=TOKEN))
    page = visit(site.url)
    page.get_by_role("link", name=re.compile("^Failed")).wait_for()
    held = []

    def hold(route):
        held.append((route, route.fetch()))
        if len(held) == 2:
            answer(
                1
            )  # the ones that follow are answered by nothing, so that none of them mends what is drawn

    def answer(number):
        route, response = held[number]
        route.fulfill(response=response)

    page.route("**/api/jobs?*", hold)
    page.keyboard.press("2")
    page.get_by_role("heading", name="Failures and retries").wait_for()
    while not held:
        page.wait_for_timeout(10)
    assert site.post("/api/retry", {"state": "failed", "reason": "rejected"}).json == {"retried": 1}
    page.keyboard.press("1")
    page.keyboard.press("2")
    expect(page.locator(".jobs .job")).to_have_count(1)
    with page.expect_event("requestfinished", lambda request: request == held[0][0].request):
        answer(0)
    page.evaluate("() => new Promise((resolve) => setTimeout(resolve, 100))")
    assert page.locator(".jobs .job").count() == 1


def test_the_dialog_hides_nothing_of_a_reason_and_purges_an_open_job_that_is_not_listed(
    serve, queue, fail, visit
):
    [opened] = fail("re\u202ejected", b"{}")
    [left] = fail("max_attempts", b"{}")
    site: Site = serve(create_app(queue, token=TOKEN))
    page = visit(f"{site.url}#/failures")
    page.locator(".group", has_text="jected").get_by_role("button", name="Purge").click()
    page.get_by_role("heading", name=r"Purge 1 job that failed with “re\u202ejected”?").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.locator(".jobs .job", has_text="jected").click()
    page.locator(".group-pick", has_text="max_attempts").click()
    expect(page.locator(".jobs .job")).to_have_count(1)
    page.locator(".detail").get_by_role("button", name="Purge").click()
    page.get_by_role("heading", name="Purge 1 job?").wait_for()
    page.keyboard.type("purge")
    page.get_by_role("button", name="Purge", exact=True).click()
    page.locator(".toast", has_text="1 job purged").wait_for()
    assert [job.id for job in queue.jobs("failed")] == [left], opened


def test_a_purge_says_how_much_and_takes_nothing_that_came_meanwhile(serve, queue, fail, visit, picture):
    seen = fail("rejected", b'{"n":1}', b'{"n":2}')
    site: Site = serve(create_app(queue, token=TOKEN))
    page = visit(f"{site.url}#/failures")
    page.locator(".group", has_text="rejected").get_by_role("button", name="Purge").click()
    page.get_by_role("heading", name="Purge 2 jobs that failed with “rejected”?").wait_for()
    page.get_by_text("They hold 2 events").wait_for()
    picture("purge", {DESK: page})
    later = fail("rejected", b'{"n":3}')
    page.keyboard.type("purge")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export, then purge").click()
    page.locator(".toast", has_text="2 jobs purged").wait_for()

    assert [job.id for job in queue.jobs("failed")] == later
    assert sorted(download.value.path().read_text().splitlines()) == ['{"n":1}', '{"n":2}'], seen
    assert re.fullmatch(r"failed-\d{8}-\d{6}\.jsonl", download.value.suggested_filename)


def test_what_cannot_be_exported_whole_is_not_purged(serve, queue, fail, opts, visit):
    [damaged] = fail("corrupt", b"{}")
    with sqlite3.connect(opts.url.removeprefix("sqlite:///")) as db:
        assert db.execute("update payloads set payload = x'00'").rowcount == 1
    site: Site = serve(create_app(queue, token=TOKEN))
    page = visit(f"{site.url}#/failures")
    page.get_by_role("button", name="Purge all").click()
    page.keyboard.type("purge")
    page.get_by_role("button", name="Export, then purge").click()
    page.get_by_text("Only 0 of 1 events can be exported, so nothing was purged").wait_for()
    assert [job.id for job in queue.jobs("failed")] == [damaged]

    page.get_by_role("button", name="Purge all").click()
    page.keyboard.type("purge")
    page.get_by_role("button", name="Purge", exact=True).click()
    page.get_by_text("Nothing failed").wait_for()


def test_a_retry_counts_down_and_can_be_had_at_once(serve, enqueue, queue, opts, plane, visit, picture):
    enqueue(*[[(f"Event {number}", {})] * (number + 1) for number in range(4)])
    backend = create_backend(opts)
    backend.open()
    jobs = backend.claim("t", ClaimTerms(limit=4, visibility_timeout=60)).jobs
    retries = [Settlement(job.id, SettlementKind.RETRY, delay=55.0 + 700 * n) for n, job in enumerate(jobs)]
    assert backend.settle("t", retries) == [True] * 4
    backend.close()
    site: Site = serve(create_app(queue, token=TOKEN, name="orders", dataplane=plane.url))
    page = visit(site.url)
    page.keyboard.press("2")
    page.get_by_role("tab", name="Retrying").click()
    when = page.locator(".job-when").first
    expect(when).to_have_text(re.compile(r"in \d\d s"))
    left = int(when.inner_text().split()[1])
    sooner = "|".join(map(str, range(left - 1)))  # a busy browser does not draw each second
    expect(when).to_have_text(re.compile(rf"^in ({sooner}) s$"))
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
    with urllib.request.urlopen(request, timeout=60) as answer:
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
    page.get_by_role("navigation").get_by_role("link", name="Failures").click()
    page.get_by_role("button", name="Purge all").click()
    page.get_by_role("heading", name="Purge 2 jobs?").wait_for()
    assert page.evaluate("document.querySelector('dialog').scrollWidth <= innerWidth")
    picture("phone-purge", {PHONE: page})


def test_the_chart_reads_what_is_under_a_pointer_that_rests(serve, queue, visit):
    site: Site = serve(create_app(queue, token=TOKEN))
    page = visit(site.url)
    page.get_by_role("heading", name="The queue is empty").wait_for()
    expect(page.get_by_role("img", name="Throughput: 0 events in")).to_be_visible()
    box = page.locator(".chart-box").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 10, box["y"] + 100)
    reading = page.locator(".reading")
    first = reading.inner_text()

    expect(reading).not_to_have_text(first)


def test_the_number_of_failures_leads_to_them(serve, queue, fail, visit):
    fail("rejected", b"{}")
    site: Site = serve(create_app(queue, token=TOKEN))
    page = visit(site.url)
    page.get_by_role("link", name=re.compile("^Failed")).click()
    page.locator(".group", has_text="rejected").wait_for()


def test_pausing_is_a_button(serve, queue, visit, picture):
    site: Site = serve(create_app(queue, token=TOKEN))
    page = visit(site.url)
    page.get_by_role("button", name="Pause").click()
    page.keyboard.press("Escape")
    assert not queue.stats().paused
    page.get_by_role("button", name="Pause").click()
    page.keyboard.type("the warehouse moves")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Delivery is paused").wait_for()
    page.get_by_text(re.compile("^Paused by .+ ago: the warehouse moves$")).wait_for()
    assert queue.stats().paused
    picture("paused", {DESK: page})
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("heading", name="The queue is empty").wait_for()
    assert not queue.stats().paused


def test_when_the_queue_is_gone_the_page_says_so_and_recovers(serve, queue, visit, monkeypatch, picture):
    def gone() -> None:
        raise QueueUnavailable("Redis does not answer")

    site: Site = serve(create_app(queue, token=TOKEN))
    page = visit(site.url, expected="503 (Service Unavailable)")
    page.get_by_role("heading", name="The queue is empty").wait_for()
    with monkeypatch.context() as patch:
        patch.setattr(queue, "stats", gone)
        page.get_by_role("heading", name="The queue cannot be reached").wait_for()
        page.get_by_text("Redis does not answer").wait_for()
        page.get_by_text("Below is what was seen at").wait_for()
        assert page.get_by_role("button", name="Pause").count() == 0
        picture("gone", {DESK: page})
    page.get_by_role("heading", name="The queue is empty").wait_for()


def test_a_read_only_page_offers_no_change(serve, queue, failed, plane, visit, picture):
    site: Site = serve(create_app(queue, token=TOKEN, read_only=True, dataplane=plane.url))
    page = visit(site.url)
    page.get_by_text("Read-only").wait_for()
    assert page.get_by_role("button", name="Pause").count() == 0
    page.keyboard.press("2")
    page.locator(".jobs .job").first.click()
    page.locator(".detail .json").wait_for()
    assert page.get_by_role("button", name="Retry").count() == 0
    assert page.get_by_role("button", name="Purge").count() == 0
    picture("read-only", {DESK: page})
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    page.get_by_role("button", name="Down").wait_for()
    assert page.get_by_role("button", name="Down").is_disabled()
