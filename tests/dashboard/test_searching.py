"""A search over HTTP: each answer says what was found, how far it has looked, and where the next one goes on."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from urllib.parse import urlencode

import pytest
import redis

from dashboard.site import TOKEN
from eventspool import QueueOpts, open_queue
from eventspool._backends import create_backend
from eventspool._dashboard import searching
from eventspool._dashboard.searching import search_on
from eventspool._envelope import seal
from eventspool._job import Job, JobState, NewJob, new_job_id
from eventspool._operate.look import Look
from eventspool._redis_server import RedisServer
from eventspool.integrations.dashboard import create_app

JOBS = 3000
LONGEST_US = 5000
EVENT = b'{"type":"track","event":"A"}'


def payload(number):
    name = "Order" if number % 100 == 50 else "View"
    return seal([json.dumps({"type": "track", "event": name, "userId": f"u{number % 7}"}).encode()])


@pytest.fixture(scope="module")
def server():
    with RedisServer() as server:
        backend = create_backend(QueueOpts(url=server.url, is_multi_processor=True))
        backend.open()
        for start in range(0, JOBS, 500):
            backend.commit([NewJob(new_job_id(), payload(n), 1) for n in range(start, start + 500)])
        backend.commit([NewJob(new_job_id(), b"junk", 1)])
        backend.close()
        yield server


def follow(ask, **parameters):
    """Yield the answers of a whole search."""
    cursor = ""
    while cursor is not None:
        answer = ask({**parameters, "cursor": cursor})
        yield answer
        cursor = answer["next"]


def test_a_search_goes_on_where_the_last_answer_ended(server):
    """As if no request had the time for more than one step."""
    with open_queue(server.url) as queue:
        ticks = iter(range(sys.maxsize))

        def ask(given):
            return search_on(queue, given, lambda job: {"id": job.id}, clock=lambda: next(ticks))

        found = list(follow(ask, state="all", event="Order"))
    assert len(found) > 10
    jobs = [job for answer in found for job in answer["jobs"]]
    assert len({job["id"] for job in jobs}) == len(jobs) == JOBS // 100
    assert {(job["matching"], job["first"]["name"]) for job in jobs} == {(1, "Order")}
    assert sum(answer["looked_at"] for answer in found) == JOBS + 1
    assert sum(answer["unreadable"] for answer in found) == 1
    assert {answer["of"] for answer in found} == {JOBS + 1}


@pytest.mark.alone  # the times of commands are bounded
def test_the_first_hits_are_answered_at_once_and_no_command_keeps_redis_busy(server, serve, monkeypatch):
    with open_queue(server.url) as queue, redis.Redis.from_url(server.url) as client:
        site = serve(create_app(queue, token=TOKEN))
        client.config_resetstat()
        answer = site.get("/api/search?state=waiting&event=Order").json
        assert answer["found"] >= 1
        monkeypatch.setattr(searching, "_SECONDS", 60.0)
        for answer in follow(
            lambda given: site.get(f"/api/search?state=waiting&text=nothing&cursor={given['cursor']}").json
        ):
            assert answer["found"] == 0
        stats = client.info("commandstats")
    calls = sum(each["calls"] for name, each in stats.items() if name in ("cmdstat_evalsha", "cmdstat_hmget"))
    assert calls < JOBS / 10, "jobs are read in bulk"
    assert all(each["usec_per_call"] < LONGEST_US for each in stats.values()), stats


def test_failures_are_counted_by_reason_error_and_event(site, fail):
    fail(
        "rejected",
        b'{"type":"track","event":"A"}',
        b'{"type":"track","event":"A"}',
        b'{"type":"track","event":"B"}',
    )
    fail("stalled", b'{"type":"track","event":"A"}', b"junk")
    answer = site.get("/api/search?state=failed&grouped=1").json

    assert answer["jobs"] == []
    groups = {(each["reason"], each["event"]): each for each in answer["groups"]}
    assert {key: each["events"] for key, each in groups.items()} == {
        ("rejected", "A"): 2,
        ("rejected", "B"): 1,
        ("stalled", "A"): 1,
        ("stalled", ""): 1,
    }
    assert all(0 < each["first"] <= each["last"] for each in groups.values())


def test_a_search_for_what_a_group_holds_finds_it(site, fail):
    """Also where its name is longer than what is shown of it, and where what is shown is no name."""
    long = "x" * 300
    fail(
        "rejected",
        f'{{"type":"track","event":"{long}A"}}'.encode(),
        f'{{"type":"track","event":"{long}B"}}'.encode(),
    )
    fail("stalled", b'{"type":"group","groupId":"team-1"}')
    groups = site.get("/api/search?state=failed&grouped=1").json["groups"]

    assert sorted((each["event"], each["event_text"]) for each in groups) == [
        ("team-1", ""),
        ("x" * 200 + "…", long + "A"),
        ("x" * 200 + "…", long + "B"),
    ]
    for group in groups:
        asked = {"reason": group["reason"], "error": group["error_text"], "event": group["event_text"]}
        assert site.get(f"/api/search?state=failed&{urlencode(asked)}").json["found"] == group["jobs"] == 1


def test_a_group_holds_jobs_of_one_state_and_an_error_that_can_be_searched_for():
    step = searching._Step()
    for state in (JobState.WAITING, JobState.DELAYED):
        job = Job("a" * 28, state, 1, 1, 1, "rejected", "e" * 3000, 1.0, None, None)
        step.add(Look(1, [job], events={job.id: [EVENT]}), asdict, grouped=True)
    assert [each["state"] for each in step.groups.values()] == [JobState.WAITING, JobState.DELAYED]
    assert {len(each["error_text"]) for each in step.groups.values()} == {1000}


def test_all_conditions_are_taken_and_those_of_failures_mean_no_other_state(site, fail, enqueue):
    [job] = fail("rejected", b'{"type":"track","event":"A","messageId":"m1"}')
    enqueue([("A", {})])
    for query in (
        "state=all&reason=rejected",
        "state=all&error=REFUSED",
        "state=all&message_id=m1",
        "state=failed&newer_than=60&event=A",
        f"state=all&job={job}",
    ):
        assert [each["id"] for each in site.get(f"/api/search?{query}").json["jobs"]] == [job], query
    assert site.get("/api/search?state=waiting&reason=rejected").json["of"] == 0
    assert site.get("/api/search?state=all&older_than=60").json["jobs"] == []
    assert len(site.get("/api/export?state=failed&event=A").text.splitlines()) == 1
    assert site.get("/api/export?state=failed&event=B").text == ""


@pytest.mark.parametrize(
    "query", ["state=gone", "cursor=nonsense", 'cursor=["failed"]', "older_than=old", f"text={'x' * 2000}"]
)
def test_what_means_nothing_is_refused(site, query):
    assert site.get(f"/api/search?{query}").status == 400
