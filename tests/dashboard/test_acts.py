"""What the dashboard's endpoints tell of what operators did, and whether a retry would repeat what was refused."""

from __future__ import annotations

import json
import time

import pytest

from eventspool._dashboard import acts
from eventspool._exceptions import ConfigError

EVENT = b'{"type":"track","event":"Order","userId":"u1","messageId":"id-1","n":0.10}'


def test_an_edit_is_told_without_its_events_until_it_is_opened(site, queue, fail):
    [job] = fail("rejected", EVENT)
    answer = site.post(
        "/api/edit", {"job": job, "index": 0, "event": EVENT.decode().replace("Order", "Mended")}
    )
    assert answer.json == {"edited": 1}
    [action] = site.get("/api/trail").json["actions"]
    assert (action["action"], action["edited"], action["selection"]) == ("edit", True, f"job {job}")
    assert "Mended" not in json.dumps(action)
    edit = site.get(f"/api/trail?position={action['position']}").json
    assert '"event": "Order"' in edit["before"]
    assert '"event": "Mended"' in edit["after"]
    assert '"n": 0.10' in edit["after"], "numbers stay as they are written"
    assert site.get(f"/api/trail?position={action['position'] + 1}").status == 409


@pytest.mark.parametrize(
    "query", ["before=x", "before=-1", "position=1.5", "before=99999999999999999", "position=²"]
)
def test_a_place_that_is_none_is_refused(queue, query):
    with pytest.raises(ConfigError, match="must be a position"):
        acts.read_trail(queue, dict([query.split("=")]))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"job": 1, "index": 0, "event": "{}"},
        {"job": "x", "index": True, "event": "{}"},
        {"job": "x", "index": 0, "event": {}},
    ],
)
def test_an_edit_that_says_too_little_is_refused(site, body):
    assert site.post("/api/edit", body).status == 400


def test_an_edit_that_cannot_go_out_says_why(site, fail):
    [job] = fail("rejected", EVENT)
    answer = site.post("/api/edit", {"job": job, "index": 0, "event": "{"})
    assert answer.status == 400
    assert "no JSON object" in answer.json["error"]


def test_what_becomes_of_jobs_is_told_by_reason(site, queue, fail):
    again, waits, gone = fail("rejected", EVENT), fail("too_large", EVENT), fail("rejected", EVENT)
    queue.retry_failed(ids=waits)
    queue.purge(ids=gone)
    query = "&".join(f"id={each}" for each in [*again, *waits, *gone, "0" * 28])
    found = site.get(f"/api/fates?{query}").json
    assert (found["delivered"], found["unfinished"]) == (1, 1)
    assert {each["reason"]: each["jobs"] for each in found["refused"]} == {"rejected": 1, "purged": 1}
    assert site.get("/api/fates").status == 400


def test_jobs_that_failed_since_they_were_retried_are_counted(queue, fail):
    assert acts.count_repeated(queue, None, time.time())["jobs"] == 0
    fail("rejected", EVENT, EVENT)
    assert acts.count_repeated(queue, None, time.time())["jobs"] == 0, "nobody retried them"
    before = queue.acting_as("ann").retry_failed(reason="rejected")
    assert before == 2
    fail("rejected", EVENT, EVENT, EVENT)  # the two above fail again, and one that nobody retried
    assert queue.stats().failed.jobs == 3
    told = acts.count_repeated(queue, "rejected", time.time())
    assert (told["jobs"], told["more"], told["actor"]) == (2, False, "ann")
    assert acts.count_repeated(queue, None, time.time())["jobs"] == 2
    assert acts.count_repeated(queue, "too_large", time.time())["jobs"] == 0
    assert acts.count_repeated(queue, "rejected", time.time() + 3601)["jobs"] == 0, "that is long ago"


def test_all_retries_of_the_last_hour_count_and_each_for_its_own_jobs(site, queue, fail):
    """A retry of one job, or of other jobs, does not hide that the rest was just refused again."""
    fail("rejected", EVENT, EVENT)
    queue.acting_as("ann").retry_failed()
    again = fail("rejected", EVENT, EVENT)
    fail("too_large", EVENT)
    queue.acting_as("bob").retry_failed(reason="too_large")
    alone = fail("stalled", EVENT)
    queue.acting_as("carol").retry_failed(ids=alone)
    told = site.get("/api/repeated?named=1").json
    assert (told["jobs"], set(told["ids"]), told["actor"]) == (2, set(again), "ann")
    assert "ids" not in site.get("/api/repeated").json
    assert site.get("/api/repeated?reason=too_large").json["jobs"] == 0


def test_a_retry_of_more_jobs_than_the_trail_names_counts_for_all_of_them(queue, fail):
    ids = fail("rejected", *[EVENT] * 12)
    queue.retry_failed(ids=ids)
    fail("rejected", *[EVENT] * 12)
    assert acts.count_repeated(queue, None, time.time())["jobs"] == 12
