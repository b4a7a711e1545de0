"""A data plane in virtual time: healthy, choosy about what it takes, and ill when the plan says so."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eventspool._delivery.verdict import DeliveryResult

if TYPE_CHECKING:
    from .simulator import Process, Simulation

OK = DeliveryResult(200)
TOO_LARGE = DeliveryResult(413)
POISON = DeliveryResult(400)
SILENT = DeliveryResult(error="the data plane did not answer in time")


@dataclass
class Outage:
    """From *start* to *end*, every request meets *answer* after *seconds*; with *takes* its events arrive all the same."""

    start: float
    end: float
    answer: DeliveryResult
    seconds: float
    takes: bool = False


@dataclass
class Plane:
    """
    Answers requests.

    Args:
        simulation: Its time and dice.
        outages: When it is ill.
        poison: Events that it never takes.
        limit: Most events of one request.
        flaky: Share of requests that fail for no reason.
        latency: Seconds of a usual answer, at least and at most.
    """

    simulation: Simulation
    outages: list[Outage] = field(default_factory=list)
    poison: frozenset[bytes] = frozenset()
    limit: int = 1 << 30
    flaky: float = 0.0
    latency: tuple[float, float] = (0.02, 0.1)
    taken: dict[bytes, int] = field(default_factory=dict)
    requests: list[tuple[float, float, Process, bool]] = field(default_factory=list)
    """Moment, seconds, whose, whether it met an outage."""
    answered: Counter[DeliveryResult] = field(default_factory=Counter)

    def send(self, process: Process, events: list[bytes], moment: float) -> tuple[DeliveryResult, float]:
        for outage in self.outages:
            if outage.start <= moment < outage.end:
                if outage.takes and not self.poison.intersection(events):
                    self._take(events, moment)
                self.requests.append((moment, outage.seconds, process, True))
                return outage.answer, outage.seconds
        dice = self.simulation.dice
        low, high = self.latency
        seconds = low + (high - low) * dice.random()
        answer = OK
        if self.flaky and dice.random() < self.flaky:
            answer = DeliveryResult(dice.choice((500, 502, 408, 302)))
        elif len(events) > self.limit:
            answer = TOO_LARGE
        elif self.poison and self.poison.intersection(events):
            answer = POISON
        else:
            self._take(events, moment)
        self.answered[answer] += 1
        self.requests.append((moment, seconds, process, False))
        return answer, seconds

    def _take(self, events: list[bytes], moment: float) -> None:
        for event in events:
            self.taken[event] = self.taken.get(event, 0) + 1
