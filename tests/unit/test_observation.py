"""What a look at a queue finds while a part of it cannot be asked, and what the tools make of it."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest

from eventspool import ClientStats, Depth, Queue, QueueOpts, QueueStats, QueueUnavailable
from eventspool._backends import create_backend
from eventspool._backends.memory import MemoryBackend
from eventspool._claim import ClaimTerms
from eventspool._cli.commands.queue.opened import Planned, describe
from eventspool._cli.commands.worker import _look
from eventspool._cli.output import format_clock
from eventspool._cli.survey_view import line
from eventspool._cli.worker_view import Status
from eventspool._dashboard.health import judge
from eventspool._dashboard.history import History
from eventspool._exceptions import QueueError
from eventspool._figures import Partition
from eventspool._fleet import ProcessorInfo
from eventspool._job import Failure, JobState, NewJob, Settlement, SettlementKind, new_job_id
from eventspool._operate.awaited import await_queue
from eventspool._operate.diagnosis import diagnose, find_obstacle, observe
from eventspool._operate.metrics import QueueReader
from eventspool._operate.selection import Selection
from eventspool._operate.standing import Standing
from eventspool._operate.survey import Survey

THERE = Partition(0, 2, Depth(2, 40, 900), Depth(1, 3, 9), node="a:1")
AWAY = Partition(1, 2, Depth(), Depth(), away=True, node="b:2")


class HalfAway(MemoryBackend):
    """A queue of two partitions, of which one cannot be reached."""

    def partitions(self):
        return [THERE, AWAY]

    def stats(self):
        raise QueueUnavailable("the partition 1 cannot be reached")

    reasons = stats


@pytest.fixture
def queue():
    backend = HalfAway()
    backend.open()
    backend.commit([NewJob(new_job_id(), b"payload", 1)])
    return Queue(backend, opts=QueueOpts(url="redis://nowhere"))


def work_on(queue):
    """Return what a worker of *queue* asks of its client."""
    processor = SimpleNamespace(describe=lambda: ProcessorInfo("t"), outage="")
    return SimpleNamespace(
        stats=ClientStats,
        queue=queue,
        _pipe=lambda: SimpleNamespace(processor=processor),
        _beginning=SimpleNamespace(queue_opts=queue._opts),
    )


def codes(troubles):
    return [each.code for each in troubles]


def test_a_worker_is_ready_while_one_partition_is_away_and_does_not_take_the_queue_for_empty(queue):
    status = _look(work_on(queue))

    assert (status.reachable, status.waiting, status.failed) == (True, 40, 3)
    assert "queue.partitions" in codes(status.troubles)
    assert find_obstacle(status.troubles) is None
    assert not Status(troubles=status.troubles).is_empty


def test_a_worker_says_that_producers_are_refused(queue):
    backend = MemoryBackend()
    backend.open()
    backend.commit([NewJob(new_job_id(), b"payload", 1)])
    full = Queue(backend, opts=QueueOpts(url="redis://nowhere", max_jobs=1))

    assert codes(_look(work_on(full)).troubles) == ["queue.bounds"]
    assert "queue.bounds" in codes(diagnose(observe(full, "q")))
    assert "queue.bounds" in codes(History(full, "q").look().troubles)


def test_the_metrics_of_a_queue_with_a_partition_away_have_no_totals_that_fall(queue):
    readings = {(each.metric, *each.labels[1:]): each.value for each in QueueReader("q", queue).read()}

    assert readings["queue.up",] == 1
    assert readings["queue.trouble", "queue.partitions"] == 1
    assert readings["queue.trouble", "queue.unreachable"] == 0
    assert readings["queue.events", "waiting"] == 40
    assert not {("queue.accepted.events",), ("queue.processors",)} & readings.keys()


@pytest.mark.parametrize("method", ["condition", "reasons"])
def test_a_look_that_fails_is_not_taken_for_a_good_one(method, monkeypatch):
    def fail():
        raise QueueError("the server refuses (NOPERM)")

    backend = MemoryBackend()
    backend.open()
    queue = Queue(backend)
    monkeypatch.setattr(backend, "stats", lambda: QueueStats(failed=Depth(1, 3, 9)))
    monkeypatch.setattr(backend, method, fail)

    assert "queue.refused" in codes(diagnose(observe(queue, "q")))


def test_a_survey_tells_of_failed_jobs(tmp_path):
    opts = QueueOpts(url=f"sqlite:///{tmp_path}/events.db", queue_name="orders")
    backend = create_backend(opts)
    backend.open()
    job = NewJob(new_job_id(), b"payload", 1)
    backend.commit([job])
    backend.claim("token", ClaimTerms(limit=9, visibility_timeout=60.0))
    failure = Failure("rejected", "no", 1)
    assert backend.settle("token", [Settlement(job.id, SettlementKind.FAIL, failure=failure)]) == [True]
    backend.close()
    with contextlib.closing(Survey([opts])) as survey:
        [standing] = survey.look()

    assert (standing.level, codes(standing.troubles)) == ("warning", ["queue.failed"])


def test_a_file_that_is_not_there_is_not_taken_for_a_queue_in_which_all_is_well(tmp_path):
    opts = QueueOpts(url=f"sqlite:///{tmp_path}/misspelt.db", queue_name="orders")
    queue = await_queue(opts, lambda absence: None)
    verdict = judge(History(queue, "orders").look())

    assert (verdict.level, verdict.code) == ("warn", "queue.missing")
    assert "'orders'" in verdict.detail
    assert not list(tmp_path.iterdir())


def test_a_line_about_queues_counts_in_words_and_a_time_of_day_is_in_utc():
    one = Standing("redis", "orders", "", stats=QueueStats(waiting=Depth(1, 1, 9)))

    assert line([one]).endswith("; 1 event waiting")
    assert format_clock(3600.0) == "01:00:00Z"


@pytest.mark.parametrize(
    ("chosen", "jobs", "says"),
    [
        (Selection((JobState.FAILED,)), 1, "1 failed job (3 events)"),
        (Selection((JobState.FAILED,)), 2, "all 2 failed jobs (3 events)"),
        (Selection((JobState.WAITING, JobState.FAILED), ["a"]), 1, "1 waiting and failed job (3 events)"),
    ],
)
def test_jobs_are_named_for_a_question(chosen, jobs, says):
    planned = Planned({JobState.FAILED: [str(number) for number in range(jobs)]}, events=3, matching=3)

    assert describe(chosen, planned) == says
