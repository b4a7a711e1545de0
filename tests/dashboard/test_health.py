"""The sentence at the top of the page."""

from __future__ import annotations

import pytest

from eventspool import Depth, QueueStats
from eventspool._dashboard.health import judge
from eventspool._dashboard.history import Look
from eventspool._fleet import ProcessorInfo
from eventspool._operate.diagnosis import Observation, diagnose

SOME = Depth(2, 40, 900)
WELL = ProcessorInfo("t", host="web-1", latency_p50=0.02)
HALTED = ProcessorInfo("t", paused=True, last_error="the data plane answered 503")


def look(processors=(WELL,), answers=None, **stats):
    seen = Observation("q", stats=QueueStats(**stats), processors=processors)
    return Look(0.0, seen.stats, processors, answers or {}, troubles=diagnose(seen))


@pytest.mark.parametrize(
    ("given", "out", "level", "title"),
    [
        (look(()), None, "idle", "The queue is empty"),
        (look(), None, "ok", "All is delivered"),
        (look(waiting=SOME), 9.0, "ok", "Events flow"),
        (look(), 9.0, "ok", "Events flow"),
        (look((), waiting=SOME), None, "bad", "No processor is running"),
        (look((HALTED,), waiting=SOME, failed=SOME), 0.0, "bad", "The data plane takes no events"),
        (look((HALTED, WELL), {"503": 1, "200": 9}, waiting=SOME), 5.0, "warn", "Some requests fail"),
        (look(answers={"503": 9}, delayed=SOME), 0.0, "bad", "Every request fails"),
        (look(waiting=SOME, oldest_age=1.5), 0.0, "warn", "Nothing is being delivered"),
        (look(delayed=SOME), 5.0, "warn", "Deliveries are retried"),
        (look(waiting=SOME, oldest_age=90.0), 5.0, "warn", "Delivery is behind"),
        (look(failed=Depth(1, 3, 9)), None, "warn", "3 events failed for good"),
        (look((), paused=True, waiting=SOME), None, "warn", "Delivery is paused"),
    ],
)
def test_the_gravest_thing_is_said(given, out, level, title):
    verdict = judge(given, out)

    assert (verdict.level, verdict.title) == (level, title)


def test_what_went_wrong_is_quoted_as_a_sentence():
    verdict = judge(look((HALTED,), waiting=SOME))

    assert (
        verdict.detail == "40 events in the queue. The processor t only probes: the data plane answered 503."
    )
    assert verdict.code == "plane.unavailable"


def test_the_commonest_bad_answers_are_named():
    verdict = judge(look(answers={"200": 50, "503": 2, "timeout": 7, "429": 1, "500": 3}, waiting=SOME))

    assert verdict.detail.endswith("Recent answers: timeout (7), 500 (3), 503 (2).")


@pytest.mark.parametrize(
    ("answers", "hint"),
    [
        ({"503": 1, "timeout": 1}, "They are retried."),
        ({"400": 1, "200": 3}, "Events that it refuses end up in Failures."),
        ({"404": 1, "413": 3}, "Events that it refuses end up in Failures."),
        ({"401": 1, "9" * 5000: 3}, "They are retried."),
        ({"400": 1, "503": 3}, "They are retried; events that it refuses end up in Failures."),
    ],
)
def test_what_becomes_of_what_failed_is_said(answers, hint):
    assert judge(look(answers=answers, waiting=SOME)).hint == hint


def test_a_slow_data_plane_is_not_taken_for_a_dead_one():
    slow = ProcessorInfo("t", latency_p50=2.0)

    assert judge(look((slow,), waiting=SOME, oldest_age=1.5), 0.0).title == "Events flow"
