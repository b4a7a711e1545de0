"""
Whatever a host's program makes happen at any line of ours: afterwards it is as if the call had been made, or had not.

How, and at which lines, is told in ``guest.interruptions``. To play every round takes hours. Each commit plays a portion of a
number of rounds that the code alone chooses, so that it fails for what was changed and for nothing else. The hunts, which only
``--whole`` runs, draw other rounds for a minute each: ``EVENTSPOOL_TEST_INTERRUPTIONS=all`` plays all rounds, a number there
plays for this number of seconds, and ``EVENTSPOOL_TEST_INTERRUPTIONS_SEED`` draws others.
"""

from __future__ import annotations

import json
import os
import threading

import pytest

from guest.interruptions.nursery import PATIENCE
from guest.interruptions.plan import FixedPlan, Plan
from guest.interruptions.points import BY_INSTRUCTION, lines_of
from guest.interruptions.run import Report, play
from guest.interruptions.sabotage import VARIABLE
from guest.interruptions.world import PACE_VARIABLE

PORTIONS = 10
ROUNDS = 50
"""Of a portion."""
SHARE = os.environ.get("EVENTSPOOL_TEST_INTERRUPTIONS", "60")
SEED = int(os.environ.get("EVENTSPOOL_TEST_INTERRUPTIONS_SEED", "20261201"))
SLOTS = 2 * (os.cpu_count() or 1) + 1
"""Rounds at a time: they wait more than they work."""
_ENDLESS = 36_000.0
_UNHURRIED = {PACE_VARIABLE: "5", PATIENCE: "240"}
"""A busy machine is no fault of ours: a round waits for longer, and so it takes longer until one is taken to hang."""


def check(report: Report, *, most_unreached: float) -> None:
    """Print *report*; fail where something does not hold, or where rounds never came to their point."""
    print("\n".join(report.lines()))
    again = [json.dumps(failure["order"]) for failure in report.failures[:5]]
    words = "\n".join(
        [*report.lines(), "again: PYTHONPATH=tests python -m guest.interruptions --task …", *again]
    )
    if report.failures:
        pytest.fail(words)
    assert report.played > 0
    assert report.unreached <= report.played * most_unreached, "too many rounds never came to their point"


def play_portion(portion: int, thread: str) -> None:
    """Play a portion of the rounds of every commit. What fails must fail again, with nothing beside it."""
    plan = FixedPlan(
        lambda role, scenario, backend: (role == "caller") == (thread == "caller"),
        rounds=ROUNDS,
        portion=portion,
        portions=PORTIONS,
    )
    report = play(plan, seconds=None, slots=SLOTS, confirm=True, environment=_UNHURRIED)
    assert report.played == ROUNDS
    check(report, most_unreached=0.2)


@pytest.mark.rotating
@pytest.mark.alone
@pytest.mark.torture
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_what_interrupts_the_callers_thread_comes_out_and_leaves_nothing_half_done(portion):
    """Exceptions, and calls of a handler that interrupts, at lines of every public method, on every backend."""
    play_portion(portion, "caller")


@pytest.mark.rotating
@pytest.mark.alone
@pytest.mark.torture
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_what_happens_at_any_line_of_our_threads_ends_none_and_loses_nothing(portion):
    """Exceptions, and calls as of destructors, at lines of all our threads, on every backend."""
    play_portion(portion, "ours")


@pytest.mark.hunt
@pytest.mark.alone
@pytest.mark.torture
@pytest.mark.slow
@pytest.mark.timeout(_ENDLESS if SHARE == "all" else float(SHARE) * 2 + 200)
@pytest.mark.parametrize("thread", ["caller", "ours"])
def test_no_round_that_chance_draws_breaks_a_promise(thread):
    """A log handler that raises, too, and points that only some pace of the threads comes to."""
    plan = Plan(SEED, lambda role, scenario, backend: (role == "caller") == (thread == "caller"))
    check(play(plan, seconds=None if SHARE == "all" else float(SHARE), slots=SLOTS), most_unreached=0.2)


@pytest.mark.hunt
@pytest.mark.alone
@pytest.mark.torture
@pytest.mark.slow
@pytest.mark.timeout(_ENDLESS if SHARE == "all" else float(SHARE) * 2 + 200)
def test_time_limits_by_real_signals_come_out_and_leave_nothing_half_done():
    """As of a job's time limit, thousands of times, at whatever instruction the alarm finds."""
    plan = Plan(SEED, lambda role, scenario, backend: role == "caller", storms=True)
    seconds = None if SHARE == "all" else float(SHARE) / 2
    check(play(plan, seconds=seconds, slots=SLOTS), most_unreached=0.9)


# -- the instrument itself -----------------------------------------------------------------------------------------------

_lock = threading.Lock()


def _with_block() -> None:
    with _lock:  # 1
        value = len("a")  # 2
    value += len("b")  # 3
    return value  # 4


def _finally() -> None:
    _lock.acquire()  # 1
    try:  # 2
        value = len("a")  # 3
    finally:
        _lock.release()  # 5
    return value  # 6


def _handler() -> None:
    try:  # 1
        int("x")  # 2
    except ValueError:  # 3
        value = 1  # 4
    value += len("a")  # 5
    return value  # 6


@pytest.mark.parametrize(
    ("function", "instructions", "lines"),
    [
        # Leaving the block, line 1 comes again before __exit__ is called; it is fair only after that.
        (_with_block, [1, 2, 2, 1, 3, 3, 4], [1, 2, 3, 4]),
        # Neither the first line of `finally` nor that of `except`, before a call was made there.
        (_finally, [1, 1, 2, 3, 3, 5, 6], [1, 2, 3, 6]),
        (_handler, [1, 2, 5, 6], [1, 2, 4, 6]),
    ],
)
def test_only_where_something_really_can_happen_it_is_made_to_happen(function, instructions, lines):
    assert lines_of(function) == (instructions if BY_INSTRUCTION else lines)


@pytest.mark.rotating
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("keeps a lock", "it hangs"),
        ("keeps a lock of Python code", "it hangs"),
        ("swallows", "the host's exception was swallowed"),
        ("changes the exception", "KeyError came out instead"),
        ("leaves a thread", "threads are left when all clients are closed"),
    ],
)
def test_a_client_with_such_a_fault_does_not_survive(kind, found):
    plan = Plan(
        SEED, lambda role, scenario, backend: (role, scenario, backend) == ("caller", "stats", "memory")
    )

    def is_found(report: Report) -> bool:
        return any(found in problem for failure in report.failures for problem in failure["problems"])

    environment = {VARIABLE: kind, PATIENCE: "20"}
    report = play(plan, seconds=180.0, slots=SLOTS, is_enough=is_found, environment=environment)
    assert is_found(report), "\n".join(report.lines())
