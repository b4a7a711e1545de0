"""``eventspool queue import-bull``: what the real Node SDKs left in Redis is taken over, and nothing is lost on the way."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import redis

from eventspool import QueueError, QueueUnavailable, RedisOpts, open_queue
from eventspool._backends.memory import MemoryBackend
from eventspool._job import CommitResult
from eventspool._operate.bull.importing import Wanted, import_jobs
from eventspool._operate.bull.source import BullQueue
from node_sdks import WRITE_KEY, Bull, application, store
from redis_servers import available_servers, running

pytestmark = pytest.mark.rotating("import-bull", turns=3)

HERE = Path(__file__).parent
DYING = HERE / "bull_node" / "dying.py"
SDKS = ("rudder-2", "rudder-3")
STEPS = ("hold", "commit", "forget")
rotating = pytest.mark.rotating("imports from Bull")
both_stores = pytest.mark.parametrize("queue", ["sqlite", "redis"], indirect=True)


@pytest.fixture
def queue(request, tmp_path):
    """The queue that jobs are brought to, as the environment names it: a file, unless the test asks for both kinds."""
    url = f"sqlite:///{tmp_path}/queue.db"
    if getattr(request, "param", "sqlite") == "redis":
        url = request.getfixturevalue("redis_server").url
    return {"EVENTSPOOL_QUEUE": url, "EVENTSPOOL_QUEUE_NAME": re.sub(r"[^\w-]", "", tmp_path.name)}


@pytest.fixture
def bull(redis_server, tmp_path):
    """A queue of Bull's that no other test uses."""
    with redis.Redis.from_url(redis_server.url) as client:
        yield Bull(client, f"bull-{tmp_path.name}".replace("[", "-").replace("]", ""))


@pytest.fixture(scope="module")
def recorded(redis_server):
    """What a real SDK has stored: 120 batches of three events. Every test puts it into a queue of its own."""
    with redis.Redis.from_url(redis_server.url) as client:
        bull = Bull(client, "recorded-once")
        events = store(bull, batches=120)
        yield events, bull.snapshot()


@pytest.fixture
def backlog(bull, recorded):
    """Events that wait in *bull*."""
    events, snapshot = recorded
    bull.restore(snapshot)
    return events


@pytest.fixture
def command(bull, queue, redis_server):
    """The arguments and the environment of an import of *bull* into *queue*."""
    url = redis_server.url
    return ("queue", "import-bull", url, "--bull-name", bull.name), {
        **queue,
        "EVENTSPOOL_WRITE_KEY": WRITE_KEY,
    }


@pytest.fixture
def take_over(run, command):
    """Run the import, and return how it ended."""
    arguments, environment = command

    def take_over(*more, **extra):
        return run(*arguments, "--json", *more, **{**environment, **extra})

    return take_over


@pytest.fixture
def here(queue):
    """The queue that the jobs go to."""
    with open_queue(queue["EVENTSPOOL_QUEUE"], queue_name=queue["EVENTSPOOL_QUEUE_NAME"]) as opened:
        yield opened


def events_in(queue, state="waiting"):
    """Return the events of all jobs in a state, in order."""
    found, after = [], None
    while page := queue.jobs(state=state, limit=100, after=after):
        found += [event for job in page for event in queue.events(job.id)]
        after = page[-1]
    return found


def ids_of(events):
    return [event["messageId"] for event in events]


def taken(done, *more):
    return {name: done.json[name] for name in ("jobs", "events", *more)}


@pytest.mark.parametrize("sdk", SDKS)
def test_what_an_sdk_has_stored_arrives_as_the_sdk_would_have_sent_it(
    sdk, bull, take_over, run, queue, target, plane
):
    sent = store(bull, sdk=sdk, batches=7)
    assert bull.places() == {"wait": 7}

    assert taken(take_over("--dry-run"), "dry_run") == {"jobs": 7, "events": 21, "dry_run": True}
    assert bull.places() == {"wait": 7}
    done = take_over()
    assert (done.status, taken(done, "left", "is_complete")) == (
        0,
        {"jobs": 7, "events": 21, "left": {}, "is_complete": True},
    ), done
    assert (bull.places(), bull.jobs()) == ({}, set())
    assert run("worker", "--once", **target, **queue).status == 0

    assert plane.events == sent
    assert taken(take_over()) == {"jobs": 0, "events": 0}


@both_stores
def test_the_order_is_kept(backlog, take_over, here):
    assert take_over().status == 0
    assert events_in(here) == backlog


@rotating
@both_stores
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_an_import_that_is_killed_loses_nothing_and_doubles_nothing(
    step, when, backlog, bull, command, take_over, here
):
    arguments, environment = command
    killed = subprocess.run(
        [sys.executable, DYING, step, when, "2", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed
    in_bull, stored = bull.jobs(), events_in(here)
    assert 0 < len(in_bull) < 120
    assert bull.jobs() == {job for place in ("wait", "delayed") for job in bull.ids(place)}
    assert set(ids_of(stored)) | {f"rudder-2-{int(job) - 1}-{n}" for job in in_bull for n in range(3)} == set(
        ids_of(backlog)
    )
    done = take_over()

    assert (done.status, done.json["jobs"], done.json["known"]) == (
        0,
        len(in_bull),
        len(stored) // 3 - (120 - len(in_bull)),
    )
    assert Counter(ids_of(events_in(here))) == Counter(ids_of(backlog))
    assert (bull.places(), bull.jobs()) == ({}, set())


@rotating
def test_what_an_import_held_when_it_was_killed_is_delivered_by_node_where_it_is_not_run_again(
    bull, command, plane, recorded
):
    bull.restore(recorded[1])
    arguments, environment = command
    subprocess.run(
        [sys.executable, DYING, "hold", "after", "1", *arguments], env=environment, timeout=60, check=False
    )
    assert bull.places() == {"wait": 70, "delayed": 50}
    first = bull.ids("delayed")[0]
    bull.client.delete(bull.base + "wait")
    bull.end_holds()
    with application(bull, batches=0, until="killed", url=plane.url):
        assert plane.wait_for(3, timeout=60)

    assert bull.data(first) is not None
    assert set(plane.unique_ids()) <= set(ids_of(recorded[0]))


@rotating
def test_what_a_node_process_works_on_is_its_own_until_its_lock_ends(bull, take_over, plane, here):
    plane.script("hang=600")
    with application(bull, batches=3, until="killed", url=plane.url) as sent:
        wait_until(lambda: bull.places() == {"wait": 2, "active": 1})
        done = take_over()
        assert (done.status, done.json["jobs"], done.json["left"]) == (
            1,
            2,
            {"held": {"jobs": 1, "ids": bull.ids("active")}},
        ), done
    bull.end_locks()
    started = time.monotonic()
    done = take_over()

    assert (done.status, taken(done)) == (0, {"jobs": 1, "events": 3})
    assert time.monotonic() - started >= 5
    assert Counter(ids_of(events_in(here))) == Counter(ids_of(sent))


def wait_until(is_so, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_paused_and_delayed_jobs_are_taken_too(bull, take_over, here):
    sent = store(bull, batches=6, delayed=2, paused=True)
    assert bull.places() == {"paused": 4, "delayed": 2}

    assert taken(take_over("--state", "delayed")) == {"jobs": 2, "events": 6}
    assert bull.places() == {"paused": 4}
    assert taken(take_over("--limit", "3")) == {"jobs": 3, "events": 9}
    assert taken(take_over()) == {"jobs": 1, "events": 3}
    assert Counter(ids_of(events_in(here))) == Counter(ids_of(sent))


@rotating
def test_what_a_data_plane_refused_comes_into_the_failed_queue(
    bull, take_over, run, queue, target, plane, here
):
    plane.script("status=400")
    sent = store(bull, sdk="rudder-3", batches=1, until="failed", url=plane.url)
    plane.reset()
    plane.script()
    done = take_over()

    assert (done.status, taken(done, "failed")) == (0, {"jobs": 1, "events": 3, "failed": 1}), done
    [job] = here.jobs(state="failed")
    assert (job.reason, "400" in job.error) == ("imported", True)
    assert time.time() - 300 < job.failed_at <= time.time()
    assert run("queue", "retry", "--reason", "imported", **queue).status == 0
    assert run("worker", "--once", **target, **queue).status == 0
    assert plane.unique_ids() == ids_of(sent)


@rotating
def test_a_batch_that_a_failed_attempt_has_compressed_is_read(bull, take_over, plane, here):
    """Where a fault of the SDK is repaired that ends its process, another one compresses a batch anew with each attempt."""
    plane.script("status=503")
    sent = store(bull, batches=1, attempts=2, until="failed", url=plane.url, repaired=True)
    [job_id] = bull.ids("failed")
    assert b'"Buffer' in bull.data(job_id)
    assert b"messageId" not in bull.data(job_id)

    assert take_over().status == 0
    assert events_in(here, "failed") == sent


def test_batches_of_another_write_key_are_named_and_left(bull, backlog, take_over, run, command):
    store(bull, batches=2, writeKey="another-canary")
    others = bull.ids("wait")[:2]
    done = take_over()

    assert (done.status, done.json["jobs"], done.json["left"]) == (
        0,
        120,
        {"other_write_key": {"jobs": 2, "ids": others[::-1]}},
    )
    assert bull.ids("wait") == others
    arguments, environment = command
    told = run(*arguments, **environment)
    assert f"left 2 jobs ({others[1]}, {others[0]}): these are meant for another write key" in told.err
    for text in (done.out, done.err, told.out, told.err):
        assert "canary" not in text
    assert taken(take_over(EVENTSPOOL_WRITE_KEY="another-canary")) == {"jobs": 2, "events": 6}


@pytest.mark.parametrize(("odd", "reason"), [("function", "javascript"), ("large", "too_large")])
def test_a_batch_that_cannot_be_taken_over_as_a_whole_stays_as_it_is(odd, reason, bull, take_over):
    store(bull, batches=2, odd=odd)
    before = bull.snapshot()
    done = take_over()

    assert (done.status, done.json["jobs"], done.json["left"]) == (
        1,
        0,
        {reason: {"jobs": 2, "ids": ["1", "2"]}},
    )
    assert sorted(bull.snapshot()) == sorted(before)


def test_a_larger_event_is_taken_where_that_is_asked_for(bull, take_over, here):
    sent = store(bull, batches=1, odd="large")
    assert take_over("--max-event-bytes", "100000").status == 0
    assert events_in(here) == sent


def test_a_batch_that_is_larger_than_a_request_may_be_becomes_several_jobs(bull, take_over, here):
    sent = store(bull, batches=1, odd="long")
    assert taken(take_over("--max-event-bytes", "300000")) == {"jobs": 1, "events": 3}
    assert events_in(here) == sent
    assert len(here.jobs(state="waiting")) == 2


def test_nothing_is_evaluated(bull, take_over, tmp_path):
    marker = tmp_path / "marker"
    code = f"(function(){{require('fs').writeFileSync('{marker}', 'x'); return {{}}}})()"
    inside = f'{{"description":"x","request":{code},"callbacks":[],"attempts":0}}'
    for number, text in enumerate((code, inside)):
        bull.add(json.dumps({"eventData": text}), f"evil{number}")
    done = take_over()

    assert (done.status, done.json["left"]) == (1, {"javascript": {"jobs": 2, "ids": ["evil0", "evil1"]}})
    assert not marker.exists()


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{}",
        "[]",
        "null",
        "\xff",
        '{"eventData":7}',
        '{"eventData":"{}","version":4}',
        "[" * 100_000,
        '{"eventData":"' + "[" * 100_000 + '"}',
    ],
    ids=range(9),
)
def test_a_job_of_something_else_is_named_and_left(data, bull, take_over):
    bull.add(data.encode("latin-1"), "foreign")
    done = take_over()

    assert (done.status, done.json["jobs"]) == (1, 0)
    [reason] = done.json["left"]
    assert reason in ("foreign", "javascript")
    assert bull.ids("wait") == ["foreign"]


def test_a_job_without_data_is_named_and_left(bull, take_over):
    bull.client.set(bull.base + "id", 1)
    bull.client.lpush(bull.base + "wait", "gone")
    assert take_over().json["left"] == {"missing": {"jobs": 1, "ids": ["gone"]}}
    assert bull.places() == {"wait": 1}


def test_ids_and_errors_that_could_steer_a_terminal_are_shown_escaped(
    bull, backlog, run, take_over, command, queue
):
    first = bull.ids("wait")[-1]
    bull.client.lrem(bull.base + "wait", 0, first)
    bull.client.zadd(bull.base + "failed", {first: 1})
    bull.client.hset(bull.base + first, "failedReason", b"\x1b[31m\xff")
    for odd in (b"\x1b[31m", b"\xff\xfe"):
        bull.client.hset(bull.base.encode() + odd, "data", "x")
        bull.client.lpush(bull.base + "wait", odd)
    arguments, environment = command
    told = run(*arguments, **environment)
    done = take_over()
    shown = run("queue", "failed", **queue)

    assert (told.status, done.status, done.json["left"]["foreign"]["jobs"]) == (1, 1, 2)
    assert shown.status == 0
    assert "left 2 jobs (" in told.err
    for each in (told, done, shown):
        assert "\x1b" not in each.out + each.err
        assert "bug in eventspool" not in each.err
    assert bull.client.llen(bull.base + "wait") == 2


def test_a_batch_that_node_has_put_back_as_another_job_is_stored_once(bull, take_over, here):
    """The SDK adds a batch anew for its next attempt, before it gives up the job of the last one."""
    sent = store(bull, batches=1)
    [job_id] = bull.ids("wait")
    bull.add(bull.data(job_id), "again")
    done = take_over()

    assert taken(done, "known") == {"jobs": 2, "events": 6, "known": 1}
    assert events_in(here) == sent
    assert bull.jobs() == set()


def bring(bull, target, **wanted):
    """Import in this process, into a backend that a test has made."""
    given = {"write_key": WRITE_KEY, "max_event_bytes": 32_768, "max_batch_bytes": 460_800, **wanted}
    url = f"unix://{bull.client.connection_pool.connection_kwargs['path']}"
    with BullQueue(RedisOpts(url=url), name=bull.name, prefix="{hightouch}") as source:
        return import_jobs(source, target, Wanted(**given))


def test_a_queue_that_is_full_leaves_the_rest_to_node(backlog, bull):
    order = bull.ids("wait")
    target = MemoryBackend(max_jobs=70)
    with pytest.raises(QueueError, match="full after 70 jobs"):
        bring(bull, target)

    assert (bull.ids("wait"), bull.places()) == (order[:50], {"wait": 50})
    assert target.stats().waiting.jobs == 70


class Away(MemoryBackend):
    """A queue that cannot be reached."""

    def commit(self, jobs):
        raise QueueUnavailable("away")


def test_what_cannot_be_stored_is_given_back_to_where_it_was(bull):
    store(bull, batches=8, delayed=3)
    before = bull.snapshot()
    with pytest.raises(QueueUnavailable):
        bring(bull, Away())
    with pytest.raises(QueueUnavailable):
        bring(bull, Away(), places=["delayed"])

    assert sorted(bull.snapshot()) == sorted(before)


def test_a_batch_that_the_queue_can_never_take_is_named_and_left(bull):
    class Small(MemoryBackend):
        def commit(self, jobs):
            return CommitResult(0, impossible=tuple(job.id for job in jobs))

    store(bull, batches=3)
    order = bull.ids("wait")
    done = bring(bull, Small())

    assert (done.jobs, done.left, done.is_complete) == (0, {"no_room": order[::-1]}, False)
    assert (bull.ids("wait"), bull.places()) == (order, {"wait": 3})


def test_a_job_that_node_takes_while_it_is_stored_stays_nodes(bull):
    class Slow(MemoryBackend):
        """A queue that takes longer than jobs are held: Bull has put one back, and a Node process took it."""

        def commit(self, jobs):
            bull.client.zrem(bull.base + "delayed", "2")
            bull.client.lpush(bull.base + "active", "2")
            bull.client.set(f"{bull.base}2:lock", "token")
            return super().commit(jobs)

    store(bull, batches=3)
    done = bring(bull, Slow())

    assert (done.jobs, done.returned) == (3, 1)
    assert (bull.jobs(), bull.places()) == ({"2"}, {"active": 1})


def test_a_job_that_node_delivers_while_it_is_looked_at_is_none_that_was_left(bull, monkeypatch):
    """Its id was read, and then it was gone."""
    store(bull, batches=3)
    read = BullQueue._read

    def read_late(source, place, ids):
        if bull.client.lrem(bull.base + "wait", 1, "2"):
            bull.client.delete(f"{bull.base}2")
        return read(source, place, ids)

    monkeypatch.setattr(BullQueue, "_read", read_late)
    done = bring(bull, MemoryBackend())

    assert (done.jobs, done.left, done.is_complete) == (2, {}, True)


def test_what_cannot_be_imported_from_is_named(run, command):
    """A wrong name would otherwise look like a queue that is empty already."""
    arguments, environment = command
    done = run(*arguments, **environment)
    assert (done.status, "Bull has no queue" in done.err, "--bull-prefix" in done.err) == (1, True, True), (
        done
    )
    elsewhere = [each if not each.startswith("unix") else "unix:///nowhere/s" for each in arguments]
    done = run(*elsewhere, **environment)
    assert (done.status, "the Redis server of Bull's queue" in done.err) == (1, True), done
    wrong = [each if not each.startswith("unix") else "sqlite:///x" for each in arguments]
    done = run(*wrong, **environment)
    assert (done.status, "redis://" in done.err) == (2, True), done
    done = run(*arguments, **{**environment, "EVENTSPOOL_WRITE_KEY": ""})
    assert (done.status, "--write-key" in done.err) == (2, True), done


@rotating
@pytest.mark.parametrize("server", available_servers())
def test_every_server_can_be_imported_from(server, recorded, run, tmp_path):
    with running(server) as started, redis.Redis.from_url(started.url) as client:
        bull = Bull(client, "elsewhere")
        bull.restore(recorded[1])
        done = run(
            *("queue", "import-bull", started.url, "--bull-name", bull.name, "--json"),
            *("--queue", f"sqlite:///{tmp_path}/q.db", "--write-key", WRITE_KEY),
        )
        assert (done.status, taken(done)) == (0, {"jobs": 120, "events": 360}), done
        assert (bull.places(), bull.jobs()) == ({}, set())


@rotating
@both_stores
@pytest.mark.parametrize("sdk", SDKS)
def test_while_node_processes_drain_and_imports_are_killed_nothing_is_lost(
    sdk, bull, command, start, target, plane, take_over, queue, here
):
    """Two Node processes deliver, a worker here does, and imports are killed now and then; then the Node processes are."""
    arguments, environment = command
    with contextlib.ExitStack() as nodes:
        sent = [
            event
            for number in range(2)
            for event in nodes.enter_context(
                application(bull, sdk=sdk, batches=400, until="killed", url=plane.url, offset=number * 1000)
            )
        ]
        worker = start("worker", "--multi", env={**target, **queue}, stderr=subprocess.DEVNULL)
        for pause in (0.0, 0.01, 0.02):
            before = here.stats().accepted_events
            importing = start(*arguments, "--multi", "--follow", env=environment, stdout=subprocess.DEVNULL)
            wait_until(lambda before=before: here.stats().accepted_events > before or not bull.ids("wait"))
            time.sleep(pause)
            importing.kill()
            importing.wait()
        assert plane.wait_for(6, timeout=60)
    bull.end_locks()
    assert take_over("--multi").status == 0
    wait_until(lambda: set(plane.unique_ids()) >= set(ids_of(sent)))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0

    assert max(plane.received(each) for each in ids_of(sent)) <= 2
    assert bull.places().keys() <= {"completed"}
