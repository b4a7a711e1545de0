"""Plays a plan for as long as it may, and reports."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventspool._redis_server import RedisServer
from guest.interruptions.rounds import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guest.interruptions.plan import FixedPlan, Plan

__all__ = ["Report", "play"]

_ABOUT_TIME = r" took \d+ s$"
_TESTS = Path(__file__).parent.parent.parent


class Report:
    """
    What the rounds of a plan have come to.

    Args:
        plan: The plan.
        confirm: Count a failure only where it comes a second time, when nothing else is played. Otherwise this holds only for
            what took too long.
    """

    def __init__(self, plan: Plan | FixedPlan, *, confirm: bool = False) -> None:
        self._plan = plan
        self._confirm = confirm
        self.played = self.held = self.unreached = 0
        self._to_repeat: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []
        self.recordings: list[dict[str, Any]] = []

    def add(self, outcome: dict[str, Any]) -> None:
        """Add one outcome."""
        order, problems = outcome["order"], outcome["problems"]
        is_doubtful = self._confirm or all(re.search(_ABOUT_TIME, each) for each in problems)
        if problems and is_doubtful and not order.get("again"):  # the machine may have been busy
            self._to_repeat.append({**order, "again": True})
            return
        self._plan.note(outcome)
        if outcome["order"].get("record"):
            self.recordings.append(outcome)
            if outcome["problems"]:
                self.failures.append(outcome)
            return
        self.played += 1
        self.held += outcome["status"] == "held"
        self.unreached += outcome["status"] == "unreached"
        if outcome["status"] == "failed":
            self.failures.append(outcome)

    def next_to_repeat(self) -> dict[str, Any] | None:
        """Return what is to be played once more, with nothing beside it."""
        return self._to_repeat.pop() if self._to_repeat else None

    def lines(self) -> list[str]:
        """Return the report: coverage by file, then what did not hold, by place."""
        by_file: dict[tuple[bool, str], list[int]] = defaultdict(lambda: [0, 0])
        for role, file, line in self._plan.reached:
            counts = by_file[role == "caller", file]
            counts[1] += 1
            counts[0] += self._plan.covered[role, file, line] > 0
        said = [
            f"{self.played} rounds: {self.held} held, {len(self.failures)} failed, {self.unreached} never came to their point"
        ]
        for callers, title in ((True, "the caller's thread"), (False, "our threads")):
            files = {file: counts for (c, file), counts in sorted(by_file.items()) if c is callers}
            hit, reached = (sum(counts[i] for counts in files.values()) for i in (0, 1))
            said.append(f"lines on {title}: {hit} of {reached} reached")
            said.append("  " + ", ".join(f"{file} {hit}/{reached}" for file, (hit, reached) in files.items()))
        places: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for failure in self.failures:
            for problem in failure["problems"]:
                places[_place(failure["order"])][_kind_of(problem)].append(_setting(failure["order"]))
        for place, problems in sorted(places.items()):
            said.append(place)
            for problem, settings in sorted(problems.items()):
                said.append(f"    {problem} [{len(settings)}: {', '.join(sorted(set(settings))[:3])}]")
        return said


def _place(order: dict[str, Any]) -> str:
    if order.get("record"):
        return f"{order['role']} {order['scenario']}: with nothing happening"
    point = order["point"]
    role = "" if order["role"] == "caller" else f"{order['role']} "
    if point is None:
        return f"{role}{order['scenario']}: {'a signal' if order['storm'] else 'log line'}"
    return f"{role}{point['file']}:{point['line']} {point['name']}"


def _setting(order: dict[str, Any]) -> str:
    return f"{order['scenario']}/{order['backend']}/{order.get('kind', '')}"


def _kind_of(problem: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "N", problem)[:170]


@contextlib.contextmanager
def _nursery(slots: int, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    path = os.pathsep.join(filter(None, (str(_TESTS), os.environ.get("PYTHONPATH"))))
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    with RedisServer() as server:
        command = [sys.executable, "-m", "guest.interruptions.nursery", server.url, str(slots)]
        nursery = subprocess.Popen(
            command,
            env={**unmeasured, **environment, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield nursery
        finally:
            os.killpg(nursery.pid, signal.SIGKILL)  # and the rounds that are under way
            nursery.wait()
            for pipe in (nursery.stdin, nursery.stdout):
                if pipe is not None:
                    pipe.close()


def play(
    plan: Plan | FixedPlan,
    *,
    seconds: float | None,
    slots: int,
    confirm: bool = False,
    tell: Callable[[dict[str, Any]], object] = lambda outcome: None,
    is_enough: Callable[[Report], bool] = lambda report: False,
    environment: dict[str, str] | None = None,
) -> Report:
    """
    Play the rounds of *plan*, *slots* at a time, and return what they came to.

    Args:
        plan: What to play.
        seconds: Begin none later than this; nothing means until there is none left.
        slots: Rounds at a time. They wait more than they work.
        confirm: Play each round that has failed again, alone, and count only what fails again.
        tell: Called with every outcome.
        is_enough: Asked after every outcome whether to stop.
        environment: More of it, for the rounds.
    """
    report, under_way = Report(plan, confirm=confirm), 0
    end = None if seconds is None else time.monotonic() + seconds
    with _nursery(slots, environment or {}) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        while True:
            orders = []
            while under_way + len(orders) < slots + 2 and (end is None or time.monotonic() < end):
                if (order := plan.next()) is None:
                    break
                orders.append(order)
            if not (under_way or orders):
                if (order := report.next_to_repeat()) is None:
                    return report
                orders = [order]
            for order in orders:
                nursery.stdin.write(json.dumps(order) + "\n")
            nursery.stdin.flush()
            under_way += len(orders)
            if not (line := nursery.stdout.readline()):
                raise RuntimeError("the nursery has ended")
            under_way -= 1
            outcome = json.loads(line)
            report.add(outcome)
            tell(outcome)
            if is_enough(report):
                return report


def describe(outcome: dict[str, Any]) -> str:
    """Return one line about *outcome*."""
    order = outcome["order"]
    what = (
        f"recorded {order['scenario']} on {order['backend']}"
        if order.get("record")
        else str(Task.of({k: v for k, v in order.items() if k != "again"}))
    )
    return f"{outcome['took']:5.1f} s  {outcome.get('status', '')} {what}" + "".join(
        f"\n    {p[:400]}" for p in outcome["problems"]
    )
