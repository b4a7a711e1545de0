"""Halving a batch down to its poison events, against a simulated data plane."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool._delivery.plan import Plan


@st.composite
def poisoned_batches(draw):
    events = draw(st.integers(1, 200))
    poison = draw(st.sets(st.integers(0, events - 1), max_size=min(events, 12)))
    return events, poison


def _bisect(events, poison, *, restart=False):
    """Deliver like the sender does; with *restart*, through a crash before every request."""
    plan = Plan.resume(events, "")
    delivered, requests = [], 0
    while plan.todo:
        if restart:
            resumed = Plan.resume(events, plan.progress)
            assert (resumed.todo, resumed.rejected) == (plan.todo, plan.rejected)
            assert resumed.progress == plan.progress
            plan = resumed
        start, end = plan.todo[0]
        requests += 1
        if poison.intersection(range(start, end)):
            plan.halve(400)
        else:
            delivered += range(start, end)
            plan.finish()
    return delivered, plan.rejected, requests


@given(poisoned_batches())
def test_every_good_event_is_delivered_once_in_order_and_only_the_bad_ones_are_rejected(batch):
    events, poison = batch
    delivered, rejected, requests = _bisect(events, poison)
    assert delivered == [i for i in range(events) if i not in poison]
    assert rejected == dict.fromkeys(poison, 400)
    assert requests <= max(1, 2 * len(poison) * math.ceil(math.log2(events)) + 1)


@given(poisoned_batches())
def test_the_progress_holds_all_of_it_at_every_step(batch):
    assert _bisect(*batch, restart=True) == _bisect(*batch)


@given(poisoned_batches())
def test_what_is_unsent_what_is_rejected_and_what_was_delivered_make_up_the_batch(batch):
    events, poison = batch
    plan = Plan.resume(events, "")
    delivered = []
    while plan.todo:
        assert sorted([*plan.unsent(), *plan.rejected, *delivered]) == list(range(events))
        start, end = plan.todo[0]
        if poison.intersection(range(start, end)):
            plan.halve(413)
        else:
            delivered += range(start, end)
            plan.finish()


def test_events_that_an_answer_names_are_rejected_at_their_place_in_the_batch():
    plan = Plan(10, [(4, 8), (8, 10)])
    plan.finish({0: 200, 3: 200})
    assert (plan.todo, plan.rejected) == ([(8, 10)], {4: 200, 7: 200})


def test_a_plan_that_was_not_begun_needs_no_progress():
    assert Plan.resume(5, "").progress == ""
    assert Plan.resume(0, "").todo == []


@pytest.mark.parametrize(
    "junk",
    [
        "|",
        ",|",
        "|1:400",
        "0-5",  # cut off before the bar: the ranges behind it would be lost
        "0-5,5-1",
        "5-10,0-5|",
        "0-6,5-10|",
        "0-11|",
        "-1-5|",
        "3-3|",
        "5-3|",
        "x|",
        "0-5|x",
        "0-5|10:400",
        "0-5|-1:400",
        "0-5|1:400|",
        '{"todo":[]}',
        "\x00",
    ],
)
def test_progress_that_makes_no_sense_sends_the_whole_batch(junk):
    """Twice is allowed; never is not."""
    plan = Plan.resume(10, junk)
    assert (plan.todo, plan.rejected) == ([(0, 10)], {})


@given(st.integers(1, 50), st.text("0123456789-,|: x", max_size=20))
def test_no_progress_leaves_a_batch_with_nothing_to_send_or_reaches_beyond_it(events, text):
    plan = Plan.resume(events, text)
    assert plan.todo
    assert set(plan.unsent()) | set(plan.rejected) <= set(range(events))
