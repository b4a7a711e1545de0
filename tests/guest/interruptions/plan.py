"""
Which rounds are played, and in which order.

A hunt (``Plan``) draws them by chance, lines that nothing happened at yet first, and plays for as long as it may. What each
commit plays (``FixedPlan``) is a number of rounds that the code alone chooses.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from zlib import crc32

from guest.interruptions.on_callers import ON_CALLERS
from guest.interruptions.on_ours import ON_OURS
from guest.interruptions.points import CALLER, Point
from guest.interruptions.rounds import KINDS_ON_CALLERS, KINDS_ON_OURS, Task

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OURS", "FixedPlan", "Plan"]

_EXECUTOR = "executor"
"""The thread that does what a thread of the host's waits for: what befalls it comes out of the call."""
OURS = "ours"
"""The role of a recording of all our threads at once."""
_STORM = 3.0
_STORM_KINDS = ("error", "timeout", "stop")


def _pairs(wanted: Callable[[str, str, str], bool]) -> list[tuple[str, str, str]]:
    """Return every (role, scenario, backend) that is *wanted*."""
    return [
        (role, scenario.name, backend)
        for role, scenarios in ((CALLER, ON_CALLERS), (OURS, ON_OURS))
        for scenario in scenarios.values()
        for backend in scenario.backends
        if wanted(role, scenario.name, backend)
    ]


def _recording(pair: tuple[str, str, str], *, trace: bool = True) -> dict[str, Any]:
    """Return the order to play a pair with nothing happening."""
    role, scenario, backend = pair
    return {"role": role, "scenario": scenario, "backend": backend, "record": True, "trace": trace}


class Plan:
    """
    Deals rounds until none is left; who wants a share stops asking.

    Args:
        seed: Of every choice.
        whole: Every kind at every point, and not only once for each line and kind.
        storms: Real signals instead of chosen points.
        wanted: Which (role, scenario, backend) to play.
        kinds: Which kinds, if not all.
    """

    def __init__(
        self,
        seed: int,
        wanted: Callable[[str, str, str], bool],
        *,
        whole: bool = False,
        storms: bool = False,
        kinds: tuple[str, ...] = (),
    ) -> None:
        self._dice = random.Random(seed)
        self._whole = whole
        self._storms = storms
        self._kinds = kinds
        self._pairs = [
            _recording(pair, trace=not storms) for pair in _pairs(wanted) if not storms or pair[0] == CALLER
        ]
        self._dice.shuffle(self._pairs)
        self._tasks: list[list[Task]] = [[], [], [], []]
        """By what is new about them: their line, instruction, line and kind, nothing."""
        self._dealt: Counter[tuple[object, ...]] = Counter()
        self._recording = 0
        self.reached: set[tuple[str, str, int]] = set()
        """Lines that a recording has visited: role, file, line."""
        self.covered: Counter[tuple[str, str, int]] = Counter()
        """How often something was made to happen at each."""

    def next(self) -> dict[str, Any] | None:
        """Return an order for the nursery, or nothing: there are none, or none before a recording is back."""
        for rank, seen in enumerate((_line, _instruction, _line_and_kind)):
            tasks, later = self._tasks[rank : rank + 2]
            while tasks:
                task = tasks.pop()
                if task.point is None or not self._dealt[seen(task)]:
                    return self._deal(task)
                later.append(task)
            if self._pairs:
                self._recording += 1
                return self._pairs.pop()
            if self._recording:
                return None
            self._dice.shuffle(later)
        return self._deal(self._tasks[-1].pop()) if self._tasks[-1] and self._whole else None

    def _deal(self, task: Task) -> dict[str, Any]:
        if task.point is not None:
            self.covered[_line(task)] += 1
            self._dealt.update((_line(task), _instruction(task), _line_and_kind(task)))
        return task.as_dict()

    def note(self, outcome: dict[str, Any]) -> None:
        """Take note of what a round has come to."""
        order = outcome["order"]
        if not order.get("record"):
            task = Task.of({name: value for name, value in order.items() if name != "again"})
            if outcome["status"] == "unreached" and task.point is not None:
                self.covered[_line(task)] -= 1
            return
        self._recording -= 1
        made = self._storms_of(outcome) if self._storms else self._tasks_of(outcome)
        self._tasks[0].extend(made)
        self._dice.shuffle(self._tasks[0])

    def _storms_of(self, outcome: dict[str, Any]) -> list[Task]:
        order, delay = outcome["order"], max(outcome.get("seconds", 0.0), 0.0005)
        scenario = ON_CALLERS[order["scenario"]]
        times = 1 if scenario.repeats else 8
        return [
            Task(CALLER, scenario.name, order["backend"], kind, None, number + 1, _STORM, delay)
            for kind in _STORM_KINDS
            if not self._kinds or kind in self._kinds
            for number in range(times)
        ]

    def _tasks_of(self, outcome: dict[str, Any]) -> list[Task]:
        order, made = outcome["order"], []
        for role, points in outcome.get("visits", {}).items():
            if role == _EXECUTOR:
                continue
            kinds = KINDS_ON_CALLERS if role == CALLER else KINDS_ON_OURS
            for given, times in points:
                point = Point(**given)
                self.reached.add((role, point.file, point.line))
                for kind in kinds:
                    if self._kinds and kind not in self._kinds:
                        continue
                    task = Task(role, order["scenario"], order["backend"], kind, point)
                    if times > 1 and self._dice.random() < 0.4:
                        task = replace(task, visit=self._dice.randint(1, times))
                    made.append(task)
        for role, lines in outcome.get("lines", {}).items():
            if (
                order["role"] != CALLER
                and role
                and role not in (CALLER, _EXECUTOR)
                and (not self._kinds or "log" in self._kinds)
            ):
                made += [
                    Task(role, order["scenario"], order["backend"], "log", None, line + 1)
                    for line in range(min(lines, 4))
                ]
        return made


def _line(task: Task) -> tuple[str, str, int]:
    assert task.point is not None
    return task.role, task.point.file, task.point.line


def _instruction(task: Task) -> tuple[object, ...]:
    return task.role, task.point


def _line_and_kind(task: Task) -> tuple[object, ...]:
    return *_line(task), task.kind


class FixedPlan:
    """
    Deals as many rounds as it is told to, the same ones for as long as the code is the same.

    Each scenario is recorded twice on its backend. A point counts if both recordings have visited it equally often: where
    the threads' pace decides, the hunt has to look. Of each line one point is taken, and of these the ones with the smallest
    hashes of their place in their function. So a change of one function changes no round that strikes another one.

    Args:
        wanted: Which (role, scenario, backend) to play.
        rounds: How many rounds.
        portion: Of these pairs, every one whose number leaves this remainder when it is divided by *portions*.
        portions: How many portions there are.
    """

    def __init__(
        self, wanted: Callable[[str, str, str], bool], *, rounds: int, portion: int, portions: int
    ) -> None:
        pairs = _pairs(wanted)[portion::portions]
        self._rounds = rounds
        self._orders = [{**_recording(pair), "take": take} for pair in pairs for take in (1, 2)]
        self._missing = len(self._orders)
        self._seen: dict[tuple[str, str], list[set[tuple[str, Point, int]]]] = {}
        self.reached: set[tuple[str, str, int]] = set()
        """Lines that both recordings have visited: role, file, line."""
        self.covered: Counter[tuple[str, str, int]] = Counter()
        """How often something was made to happen at each."""

    def next(self) -> dict[str, Any] | None:
        """Return an order for the nursery, or nothing: there are none, or none before all recordings are back."""
        return self._orders.pop() if self._orders else None

    def note(self, outcome: dict[str, Any]) -> None:
        """Take note of a recording. When it was the last one, choose the rounds."""
        order = outcome["order"]
        if not order.get("record"):
            return
        visits = outcome.get("visits", {}).items()
        found = {(role, Point(**given), times) for role, points in visits for given, times in points}
        self._seen.setdefault((order["scenario"], order["backend"]), []).append(found)
        self._missing -= 1
        if not self._missing:
            self._orders = [task.as_dict() for task in self._choose()]

    def _choose(self) -> list[Task]:
        by_line: dict[tuple[str, str, int], tuple[int, Task]] = {}
        for (scenario, backend), takes in self._seen.items():
            for role, point, times in set.intersection(*takes):
                if role == _EXECUTOR:
                    continue
                place = f"{role} {scenario} {backend} {point.file} {point.name} {point.offset}"
                drawn = crc32(place.encode())
                kinds = KINDS_ON_CALLERS if role == CALLER else KINDS_ON_OURS
                kind = kinds[drawn % len(kinds)]
                task = Task(role, scenario, backend, kind, point, 1 + drawn // len(kinds) % times)
                line = _line(task)
                self.reached.add(line)
                by_line[line] = min(by_line.get(line, (drawn, task)), (drawn, task), key=lambda pair: pair[0])
        chosen = sorted(by_line.values(), key=lambda pair: pair[0])[: self._rounds]
        self.covered.update(_line(task) for _, task in chosen)
        return [task for _, task in chosen]
