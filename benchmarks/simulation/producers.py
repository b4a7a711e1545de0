"""Producers: what comes, what each of them flushes when, and what is refused."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from eventspool._config import Ordering
from eventspool._operate.capacity.batching import count_ordered, count_plenty

if TYPE_CHECKING:
    import random

    from benchmarks.simulation.setup import Setup
    from eventspool._operate.capacity import Constants

__all__ = ["Producers"]


class Producers:
    """All producers. What was flushed and is in no shard is told apart by producer only as a number."""

    def __init__(self, setup: Setup, constants: Constants, dice: random.Random) -> None:
        load = setup.load
        count = load.resolved_producers
        drawn = [dice.lognormvariate(0.0, setup.skew) for _ in range(count)]
        self.rates = [load.events_per_second * each / sum(drawn) for each in drawn]
        self.buffered = [0] * count
        self.waited = [0.0] * count
        self.outside = [0.0] * count
        self._load = load
        self._dice = dice
        self._plenty = count_plenty(load.flush_at, load.max_internal_queue_size)
        self._full = load.events_per_full_batch
        self._made: dict[int, float] = {}
        self._room = load.max_internal_queue_size
        stored = constants.stored_bytes(load.events_per_full_batch, load.event_bytes)
        self.spill_event_bytes = stored
        self._spill = load.spill_bytes / stored

    def accept(self, seconds: float) -> tuple[int, int]:
        """Give each producer the events of a tick. Return how many were accepted, and how many refused."""
        accepted = refused = 0
        gauss = self._dice.gauss
        room = self._room + self._spill
        for i, rate in enumerate(self.rates):
            mean = rate * seconds
            came = max(0, int(gauss(mean, mean**0.5) + 0.5)) if mean > 8 else self._few(mean)
            taken = min(came, max(0, int(room - self.buffered[i] - self.outside[i])))
            self.buffered[i] += taken
            accepted += taken
            refused += came - taken
        return accepted, refused

    def _few(self, mean: float) -> int:
        """Return a number of events by Poisson's distribution."""
        limit, product, count = 2.718281828459045**-mean, self._dice.random(), 0
        while product > limit:
            product *= self._dice.random()
            count += 1
        return count

    def flush(self, seconds: float, partitions: int) -> list[tuple[int, int, float, float]]:
        """Return producer, events, jobs and the mean time that the events waited, of each one that flushes now."""
        flushed = []
        load = self._load
        for i, count in enumerate(self.buffered):
            if not count:
                self.waited[i] = 0.0
                continue
            self.waited[i] += seconds
            if count < load.flush_at and self.waited[i] < load.flush_interval:
                continue
            flushed.append((i, count, self._jobs(count, partitions), self.waited[i] / 2))
            self.buffered[i] = 0
            self.waited[i] = 0.0
        return flushed

    def _jobs(self, count: int, partitions: int) -> float:
        """Return how many jobs a producer makes of so many events in a tick."""
        if (made := self._made.get(count)) is not None:
            return made
        once = min(count, self._plenty)
        jobs = float(ceil(once / self._full))
        if self._load.ordering is Ordering.PER_USER:
            jobs = max(jobs, count_ordered(once, partitions, self._load.flush_at))
        self._made[count] = made = jobs * count / once
        return made

    def peak_spill(self) -> float:
        """Return the bytes in the fullest spill file."""
        return max(0.0, max(self.outside) - self._room) * self.spill_event_bytes
