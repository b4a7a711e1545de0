"""``eventspool worker``: delivers, stops when it is told to, and says what it does."""

from __future__ import annotations

import json
import signal

import pytest

from eventspool import open_queue


def test_once_empties_the_queue_and_ends(run, plane, target, queue, enqueue):
    enqueue("a", "b", "c")
    done = run("worker", "--once", "--json", **target, **queue)

    assert done.status == 0, done
    assert done.json == {
        "batches": 3,
        "waiting": 0,
        "leased": 0,
        "failed": 0,
        "paused": False,
        "reachable": True,
    }
    assert plane.unique_ids() == ["id-a", "id-b", "id-c"]


def test_once_waits_for_retries(run, plane, target, queue, enqueue):
    enqueue("a")
    plane.script("status=503,next=1")

    assert run("worker", "--once", **target, **queue).status == 0
    assert plane.stats().unique == 1


def test_once_fails_when_something_new_failed_only(run, target, failed):
    assert run("worker", "--once", **target, **failed).status == 0


def test_max_attempts_sends_to_the_failed_queue(run, plane, target, queue, enqueue):
    enqueue("a")
    plane.script("status=503")
    done = run("worker", "--once", "--max-attempts", "1", "--json", **target, **queue)

    assert (done.status, done.json["failed"]) == (1, 1)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_good_order(start, plane, target, queue, enqueue, number, status):
    """The request under way is finished: the event is delivered once, and the queue knows."""
    plane.script("latency=0.5,next=1")
    enqueue("a")
    process = start("worker", "--json", env={**target, **queue})
    assert plane.wait_for(1, timeout=20)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)

    assert process.returncode == status, err
    assert json.loads(out)["batches"] == 1
    assert plane.received("id-a") == 1
    with open_queue(queue["EVENTSPOOL_QUEUE"], queue["EVENTSPOOL_QUEUE_NAME"]) as opened:
        assert opened.stats().leased.jobs == opened.stats().waiting.jobs == 0


def test_a_second_signal_ends_it_at_once_and_gives_the_lease_back(start, plane, target, queue, enqueue):
    plane.script("hang=60")
    enqueue("a")
    process = start("worker", "--grace", "30", env={**target, **queue})
    assert plane.wait_for(lambda stats: stats.requests == 1, timeout=20)
    process.send_signal(signal.SIGTERM)
    while "stopping" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGTERM)

    assert process.wait(10) == 128 + signal.SIGTERM
    with open_queue(queue["EVENTSPOOL_QUEUE"], queue["EVENTSPOOL_QUEUE_NAME"]) as opened:
        assert opened.stats().leased.jobs == 0
        assert opened.stats().waiting.jobs == 1


def test_a_queue_that_is_not_there_yet_is_waited_for(start, target):
    process = start("worker", env={**target, "EVENTSPOOL_QUEUE": "redis://127.0.0.1:9/0"})

    assert "trying again" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_a_refused_write_key_is_said_loudly_and_costs_nothing(start, plane, target, queue, enqueue):
    enqueue("a")
    process = start("worker", env={**target, **queue, "EVENTSPOOL_WRITE_KEY": "wrong"})
    while "write key" not in (line := process.stderr.readline()):
        assert line, "it ended without a word"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0

    with open_queue(queue["EVENTSPOOL_QUEUE"], queue["EVENTSPOOL_QUEUE_NAME"]) as opened:
        assert opened.stats().failed.jobs == 0
    assert "wrong" not in process.stderr.read()


def test_a_spill_file_that_somebody_left_is_moved_on(run, plane, target, redis_server, tmp_path):
    """A producer was killed while Redis was away: a worker with its file delivers what is in there."""
    name = {"EVENTSPOOL_QUEUE_NAME": tmp_path.name}
    spill = f"sqlite:///{tmp_path}/spill.db"
    event = b'{"type": "track", "event": "E", "userId": "u"}'
    assert run("send", "-", "--enqueue-only", EVENTSPOOL_QUEUE=spill, data=event, **name).status == 0
    redis = {"EVENTSPOOL_QUEUE": redis_server.url, "EVENTSPOOL_SPILL": spill}
    done = run("worker", "--once", "--json", **target, **redis, **name)

    assert done.status == 0, done
    assert plane.stats().unique == 1
    assert run("queue", "status", "--json", EVENTSPOOL_QUEUE=spill, **name).json["waiting"]["events"] == 0


def test_a_spill_file_is_for_redis(run, target, tmp_path):
    files = [f"sqlite:///{tmp_path}/{name}.db" for name in ("queue", "spill")]
    for command in ("worker", "send"):
        arguments = [command, *(["-"] if command == "send" else []), "--queue", files[0], "--spill", files[1]]
        done = run(*arguments, **target)

        assert done.status == 2, done
        assert "spill" in done.err
    done = run("send", "-", "--spill", files[1], **target)
    assert (done.status, "--queue" in done.err) == (2, True), done
