"""
The fault script: which rule decides which request. Pure but for its counters: the time is an argument, chance
is seeded.

Rules are asked in order and the first whose conditions hold decides; ``latency`` and ``drip`` add to that, and
the rules behind them are asked as well. Each rule draws from its own generator, so a rule that is added or removed
behind it changes nothing for it, and the same seed and the same sequence of requests give the same faults.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eventspool._dataplane.rules import Rule

__all__ = ["NO_FAULT", "Decision", "FaultScript"]


@dataclass(frozen=True, slots=True)
class Decision:
    """
    What happens to one request.

    Args:
        rule: The rule that decides; ``None`` when it is answered on its merits.
        matched: Positions of the events that *rule* is about, where it looks at events.
        latency: Seconds to answer late.
        drip: Seconds between two bytes of the answer; 0.0 writes it at once.
    """

    rule: Rule | None = None
    matched: tuple[int, ...] = ()
    latency: float = 0.0
    drip: float = 0.0


NO_FAULT = Decision()


class FaultScript:
    """Decides about requests. Safe to use from several threads."""

    def __init__(self, rules: Iterable[Rule] = (), *, seed: int = 0) -> None:
        self.rules = tuple(rules)
        self._chance = [random.Random(f"{seed}/{position}") for position in range(len(self.rules))]
        self._eligible = [0] * len(self.rules)
        self._fired = [0] * len(self.rules)
        self._lock = threading.Lock()

    def before_body(self, elapsed: float) -> Rule | None:
        """Return the rule that ends a request before its body is read, *elapsed* seconds into the script."""
        with self._lock:
            for position, rule in enumerate(self.rules):
                if rule.drop == "before" and self._fires(position, elapsed):
                    return rule
        return None

    def decide(self, elapsed: float, events: Sequence[Any], body_bytes: int) -> Decision:
        """Decide about *events* in a body of *body_bytes* that came *elapsed* seconds into the script."""
        if not self.rules:
            return NO_FAULT
        latency = drip = 0.0
        with self._lock:
            for position, rule in enumerate(self.rules):
                if rule.outage or rule.drop == "before":
                    continue
                if rule.max_events is not None and len(events) <= rule.max_events:
                    continue
                if rule.max_bytes is not None and body_bytes <= rule.max_bytes:
                    continue
                matched = (
                    tuple(i for i, event in enumerate(events) if rule.matches(event))
                    if rule.selects_events
                    else ()
                )
                if (rule.selects_events and not matched) or not self._fires(position, elapsed):
                    continue
                if rule.latency is not None:
                    bounds = rule.latency if isinstance(rule.latency, tuple) else (rule.latency, rule.latency)
                    latency += self._chance[position].uniform(*bounds)
                elif rule.drip is not None:
                    drip += rule.drip
                else:
                    return Decision(rule, matched, latency, drip)
        return Decision(None, (), latency, drip)

    def outage(self, elapsed: float) -> tuple[bool, float | None]:
        """Say whether nothing should listen, and in how many seconds that may change (``None``: never)."""
        down = False
        edges: list[float] = []
        for rule in self.rules:
            if rule.outage:
                down = down or _within(rule, elapsed)
                edges += [
                    edge - elapsed for edge in (rule.from_, rule.to) if edge is not None and edge > elapsed
                ]
        return down, min(edges, default=None)

    def fired(self) -> dict[str, int]:
        """Return how often each rule has fired, by its text form. An outage fires once, when it begins."""
        with self._lock:
            counts: dict[str, int] = {}
            for rule, count in zip(self.rules, self._fired, strict=True):
                counts[str(rule)] = counts.get(str(rule), 0) + count
            return counts

    def note_outage(self, elapsed: float) -> None:
        """Count the beginning of the outage that holds at *elapsed*."""
        with self._lock:
            for position, rule in enumerate(self.rules):
                self._fired[position] += rule.outage and _within(rule, elapsed)

    def _fires(self, position: int, elapsed: float) -> bool:
        rule = self.rules[position]
        if not _within(rule, elapsed) or (rule.next is not None and self._fired[position] >= rule.next):
            return False
        self._eligible[position] += 1
        if rule.every is not None and self._eligible[position] % rule.every:
            return False
        if rule.p is not None and self._chance[position].random() >= rule.p:
            return False
        self._fired[position] += 1
        return True


def _within(rule: Rule, elapsed: float) -> bool:
    return elapsed >= rule.from_ and (rule.to is None or elapsed < rule.to)
