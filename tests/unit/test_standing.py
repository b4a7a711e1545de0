"""How several queues are judged and sorted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eventspool._figures import Depth, QueueStats
from eventspool._history import Minute
from eventspool._operate.diagnosis import KINDS, Severity, Trouble
from eventspool._operate.standing import Pace, Standing, full_in, measure, worst_first

CALM = Standing("redis://a", "calm", "p", max_jobs=100, max_bytes=1000)


def named(name: str, **more) -> Standing:
    return replace(CALM, queue_name=name, **more)


def trouble(code: str, severity: Severity) -> Trouble:
    return Trouble(code, severity, "", KINDS[code].remedy)


def minute(**figures) -> Minute:
    return Minute(
        **{
            **dict.fromkeys(
                ("pending", "failed", "jobs", "bytes", "processors", "accepted", "delivered", "given_up"), 0
            ),
            "oldest_age": 0.0,
            **figures,
        }
    )


def test_the_worst_come_first_trouble_before_fill_before_age():
    full = QueueStats(waiting=Depth(95, 95, 10))
    queues = [
        named("bull", is_bull=True),
        CALM,
        named("old", stats=QueueStats(oldest_age=500.0)),
        named("full", stats=full),
        named("warned", troubles=(trouble("queue.failed", Severity.WARNING),)),
        named("noted", troubles=(trouble("queue.failed", Severity.NOTE),)),
        named("bad", troubles=(trouble("queue.processors", Severity.ERROR),)),
        named("worse", troubles=(trouble("queue.read_only", Severity.ERROR),)),
        named("away", problem="nothing listens there"),
    ]
    order = [each.queue_name for each in worst_first(queues)]

    assert order == ["away", "worse", "bad", "warned", "full", "old", "calm", "noted", "bull"]
    assert [each.queue_name for each in worst_first(reversed(queues))] == order


def test_a_queue_is_as_full_as_the_bound_that_it_is_nearest_to():
    queue = named("q", stats=QueueStats(waiting=Depth(10, 10, 500), failed=Depth(10, 10, 100)))

    assert queue.fill == pytest.approx(0.6)
    assert queue.full_in is None
    assert replace(queue, pace=Pace(bytes=4.0, jobs=1.0)).full_in == pytest.approx(80.0)  # the jobs' bound
    assert replace(queue, pace=Pace(bytes=40.0, jobs=1.0)).full_in == pytest.approx(10.0)
    assert replace(queue, pace=Pace(bytes=-40.0, jobs=0.0)).full_in is None
    assert full_in(-5, 1.0) == 0.0
    assert named("q", problem="away").fill is None


def test_the_growth_is_of_a_quarter_of_an_hour_and_the_rates_of_the_last_minute():
    now = 10_000.0
    stats = QueueStats(waiting=Depth(70, 70, 7000), accepted_events=700, delivered_events=600)
    minutes = [
        (now - 5, minute(accepted=699)),  # too near: one batch would decide
        (now - 60, minute(jobs=60, bytes=6000, accepted=640, delivered=600)),
        (now - 600, minute(jobs=10, bytes=1000, accepted=100, delivered=600)),
        (now - 5000, minute()),
    ]
    pace = measure(stats, now, minutes)

    assert (pace.into, pace.out) == (pytest.approx(1.0), 0.0)
    assert (pace.jobs, pace.bytes) == (pytest.approx(0.1), pytest.approx(10.0))
    assert measure(stats, now, minutes[:1]) == Pace()


def test_a_total_that_fell_is_of_another_queue():
    assert measure(QueueStats(accepted_events=5), 100.0, [(0.0, minute(accepted=50))]).into is None
