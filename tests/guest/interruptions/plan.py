"""Which rounds are played, and in which order: lines that nothing happened at yet come first."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

from guest.interruptions.on_callers import ON_CALLERS
from guest.interruptions.on_ours import ON_OURS
from guest.interruptions.points import CALLER, Point
from guest.interruptions.rounds import KINDS_ON_CALLERS, KINDS_ON_OURS, Task

__all__ = ["OURS", "Plan"]

_EXECUTOR = "executor"
"""The thread that does what a thread of the host's waits for: what befalls it comes out of the call."""
OURS = "ours"
"""The role of a recording of all our threads at once."""
_STORM = 3.0
_STORM_KINDS = ("error", "timeout", "stop")


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
        wanted: Any,
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
            {"role": role, "scenario": scenario.name, "backend": backend, "record": True, "trace": not storms}
            for role, scenarios in ((CALLER, ON_CALLERS), (OURS, ON_OURS))
            if not storms or role == CALLER
            for scenario in scenarios.values()
            for backend in scenario.backends
            if wanted(role, scenario.name, backend)
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
