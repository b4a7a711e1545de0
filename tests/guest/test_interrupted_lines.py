"""
Whatever a host's program makes happen at any line of ours: afterwards it is as if the call had been made, or had not.

How, and at which lines, is told in ``guest.interruptions``. To play every round takes hours, so each test here plays for a
minute at most; its rounds are the same as long as the code is the same. ``EVENTSPOOL_TEST_INTERRUPTIONS=all`` plays all
rounds, a number there plays for this number of seconds, and ``EVENTSPOOL_TEST_INTERRUPTIONS_SEED`` draws other rounds.
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any

import pytest

from guest.interruptions.nursery import PATIENCE
from guest.interruptions.plan import Plan
from guest.interruptions.points import BY_INSTRUCTION, lines_of
from guest.interruptions.run import Report, play
from guest.interruptions.sabotage import VARIABLE

SHARE = os.environ.get("EVENTSPOOL_TEST_INTERRUPTIONS", "60")
SEED = int(os.environ.get("EVENTSPOOL_TEST_INTERRUPTIONS_SEED", "20261201"))
SLOTS = 2 * (os.cpu_count() or 1) + 1
"""Rounds at a time: they wait more than they work."""
_ENDLESS = 36_000.0


def play_share(portion: float = 1.0, **how: Any) -> Report:
    """Play a share of the rounds; fail where something does not hold."""
    seconds = None if SHARE == "all" else float(SHARE) * portion
    thread = how.pop("thread")
    plan = Plan(SEED, lambda role, scenario, backend: (role == "caller") == (thread == "caller"), **how)
    report = play(plan, seconds=seconds, slots=SLOTS)
    print("\n".join(report.lines()))
    again = [json.dumps(failure["order"]) for failure in report.failures[:5]]
    words = "\n".join(
        [*report.lines(), "again: PYTHONPATH=tests python -m guest.interruptions --task …", *again]
    )
    if report.failures:
        pytest.fail(words)
    assert report.played > 0
    most = report.played * (0.9 if how.get("storms") else 0.2)
    assert report.unreached <= most, "too many rounds never came to their point"
    return report


@pytest.mark.rotating("interruptions")
@pytest.mark.alone
@pytest.mark.torture
@pytest.mark.slow
@pytest.mark.timeout(_ENDLESS if SHARE == "all" else float(SHARE) * 2 + 200)
def test_what_interrupts_the_callers_thread_comes_out_and_leaves_nothing_half_done():
    """Exceptions, and calls of a handler that interrupts, at lines of every public method, on every backend."""
    play_share(thread="caller")


@pytest.mark.rotating("interruptions")
@pytest.mark.alone
@pytest.mark.torture
@pytest.mark.slow
@pytest.mark.timeout(_ENDLESS if SHARE == "all" else float(SHARE) * 2 + 200)
def test_what_happens_at_any_line_of_our_threads_ends_none_and_loses_nothing():
    """Exceptions, a log handler that raises, and destructors, at lines of all our threads, on every backend."""
    play_share(thread="ours")


@pytest.mark.rotating("interruptions")
@pytest.mark.alone
@pytest.mark.torture
@pytest.mark.slow
@pytest.mark.timeout(_ENDLESS if SHARE == "all" else float(SHARE) * 2 + 200)
def test_time_limits_by_real_signals_come_out_and_leave_nothing_half_done():
    """As of a job's time limit, thousands of times, at whatever instruction the alarm finds."""
    play_share(0.5, thread="caller", storms=True)


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
