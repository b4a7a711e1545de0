"""One run: tick by tick, from the producers over the shards to the data plane."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from benchmarks.simulation.piles import Cohort, Histogram, Pile, share_out
from benchmarks.simulation.producers import Producers
from benchmarks.simulation.setup import Outcome, Setup
from benchmarks.simulation.shards import Shard
from eventspool._config import Ordering
from eventspool._operate.capacity import MEASURED, Constants, make_plan
from eventspool._operate.capacity.batching import COMMIT_JOBS, PACE
from eventspool._operate.capacity.plan import DRAIN_JOBS
from eventspool._routing import LANES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["simulate"]

_SHARES = (-0.8, -0.4, 0.0, 0.4, 0.8)
"""Where in the time before their flush the events of a cohort were tracked, from the first to the last of them."""
_BUSIEST = 0.995
"""The share of a server beyond which the formula of its queue says nothing."""


class _Fleet:
    """One run."""

    def __init__(self, setup: Setup, seed: int, constants: Constants) -> None:
        load = setup.load
        self.setup, self.load, self.constants = setup, load, constants
        self.dice = random.Random(seed)
        plan = make_plan(load, constants)
        count = plan.partitions
        self.is_ordered = load.ordering is Ordering.PER_USER
        # Users differ in how much they do, so partitions do, too, where they are chosen by user.
        weights = [self.dice.gauss(1.0, 0.05) if self.is_ordered else 1.0 for _ in range(count)]
        self.shards = [Shard(max(weight, 0.5) / sum(weights)) for weight in weights]
        self.producers = Producers(setup, constants, self.dice)
        self.processors = setup.processors or plan.processors
        self.bound_bytes, self.bound_jobs = load.max_bytes / count, load.max_jobs / count
        longest = max(setup.seconds - setup.away[1], 0.0)
        self.failing = sorted(
            (self.dice.uniform(0, longest), self.dice.randrange(count), self.dice.uniform(*setup.away))
            for _ in range(setup.failovers)
        )
        self.accepted = self.refused = self.delivered = self.lost = 0
        self.jobs = self.batched = 0.0
        self.peak_shard = self.peak_spill = 0.0
        self.peak_outside = 0
        self.latency, self.calm, self.commits = Histogram(), Histogram(), Histogram()
        self.drained_at: float | None = None

    # -- a tick

    def tick(self, now: float) -> None:
        """Let a quarter of a second pass."""
        loaded = now < self.setup.seconds
        self.fail(now)
        if loaded:
            accepted, refused = self.producers.accept(PACE)
            self.accepted += accepted
            self.refused += refused
        self.place(now, self.producers.flush(PACE, len(self.shards)))
        left = [self.store(shard, now) for shard in self.shards]
        self.deliver(left, now)
        self.peak_shard = max(self.peak_shard, *(shard.memory(self.constants) for shard in self.shards))
        self.peak_outside = max(self.peak_outside, sum(shard.outside.events for shard in self.shards))
        self.peak_spill = max(self.peak_spill, self.producers.peak_spill())
        over = sum(self.setup.outage)
        if self.drained_at is None and now >= over and self.count_waiting() <= self.load.events_per_second:
            self.drained_at = now

    def fail(self, now: float) -> None:
        """Take those shards away that lose their node now."""
        while self.failing and self.failing[0][0] <= now:
            _, number, away = self.failing.pop(0)
            shard = self.shards[number]
            shard.away_until = now + away
            if self.load.durability != "replicated" and self.setup.behind:
                self.lost += shard.stored.drop_since(now - self.setup.behind)

    def place(self, now: float, flushed: Iterable[tuple[int, int, float, float]]) -> None:
        """Put what was flushed before the shards: with order to those of its users, else in turns to those that take it."""
        events, jobs, waited = 0, 0.0, 0.0
        for i, count, made, wait in flushed:
            self.producers.outside[i] += count
            events += count
            jobs += made
            waited += wait * count
        if not self.is_ordered:
            self.redirect(now)
        if not events:
            return
        self.jobs += jobs
        self.batched += events
        open_now = [self.is_open(shard, now) for shard in self.shards]
        if self.is_ordered or not any(open_now):
            weights = [shard.weight for shard in self.shards]
        else:
            weights = [float(is_open) for is_open in open_now]
        per_batch = events / jobs
        payload = self.constants.stored_bytes(per_batch, self.load.event_bytes)
        wait = waited / events
        for shard, count in zip(self.shards, share_out(events, weights), strict=True):
            if count:
                shard.outside.put(Cohort(now - wait, count, count / per_batch, count * payload, wait))

    def redirect(self, now: float) -> None:
        """Have what waits for a shard that is away or full wait for another one: without order any of them will do."""
        takers = [shard for shard in self.shards if self.is_open(shard, now)]
        for shard in self.shards:
            if takers and shard.outside.cohorts and not self.is_open(shard, now):
                for number, cohort in enumerate(shard.outside.take(float("inf"), shard.outside.events)):
                    takers[number % len(takers)].outside.put(cohort)

    def is_open(self, shard: Shard, now: float) -> bool:
        """Whether *shard* answers, and has room."""
        stored = shard.stored
        full = stored.payload >= self.bound_bytes or stored.jobs >= self.bound_jobs
        return now >= shard.away_until and not full

    def store(self, shard: Shard, now: float) -> float:
        """Store what waits for *shard*. Return the microseconds of its core that are left in this tick."""
        if now < shard.away_until:
            return 0.0
        budget = PACE * 1e6
        kb, jobs_a_call = self._sizes(shard.outside)
        cost = self._commit_us(kb, jobs_a_call)
        room = min(self.bound_jobs - shard.stored.jobs, self._fitting(shard))
        for cohort in shard.outside.take(min(budget / cost, room), shard.outside.events):
            shard.stored.put(cohort)
            budget -= cohort.jobs * cost
        spent = PACE * 1e6 - budget
        busy = min(max(shard.busy_now, spent / (PACE * 1e6)), _BUSIEST)
        waited = busy * cost / (2 * (1 - busy))
        waiting = self.constants.wait_seconds * 1000 if self.load.durability == "replicated" else 0.0
        self.commits.add((cost + waited) / 1000 + waiting, max(spent / cost, 0.0))
        shard.busy += spent
        shard.busy_now = spent / (PACE * 1e6)
        return budget

    def _fitting(self, shard: Shard) -> float:
        """Return how many more jobs the bytes of *shard* allow."""
        if not shard.outside.jobs:
            return 0.0
        return max(0.0, self.bound_bytes - shard.stored.payload) / (
            shard.outside.payload / shard.outside.jobs
        )

    def _sizes(self, pile: Pile) -> tuple[float, float]:
        """Return the KB of a job in *pile*, and how many jobs a commit of it has."""
        if not pile.jobs:
            return 1.0, 1.0
        many = (
            len(pile.cohorts) > 4
        )  # it comes out of memory or a file, where several jobs of a producer wait
        return pile.payload / pile.jobs / 1000, COMMIT_JOBS if many else 1.0

    def _commit_us(self, kb: float, jobs_a_call: float) -> float:
        constants, load = self.constants, self.load
        cost = constants.commit_us(jobs_a_call, kb) + constants.kept_us(
            kb, aof=load.aof, replicas=load.replicas
        )
        cost += constants.spread_us(len(self.shards))
        cost += constants.order_us(jobs_a_call) if self.is_ordered else 0.0
        return cost + (constants.wait_call_us / jobs_a_call if load.durability == "replicated" else 0.0)

    def deliver(self, left: Sequence[float], now: float) -> None:
        """Hand out jobs, the oldest first, as far as servers, processors and the data plane allow."""
        begin, length = self.setup.outage
        if begin <= now < begin + length:
            return
        load, constants = self.load, self.constants
        events = sum(shard.stored.events for shard in self.shards)
        if not events:
            return
        per_batch = events / max(sum(shard.stored.jobs for shard in self.shards), 1e-9)
        by_python = 1e6 / (constants.deliver_event_us + constants.deliver_process_job_us / per_batch)
        by_answers = load.concurrency * load.events_per_full_batch / load.answer_seconds
        most = int(self.processors * min(by_python, by_answers) * PACE)
        wanted = []
        costs = []
        for shard, budget in zip(self.shards, left, strict=True):
            kb, _ = self._sizes(shard.stored)
            is_behind = shard.stored.jobs > load.concurrency * self.processors
            costs.append(constants.deliver_us(DRAIN_JOBS if is_behind else 1.0, kb))
            jobs = min(shard.stored.jobs, max(budget, 0.0) / costs[-1])
            possible = jobs * shard.stored.events / shard.stored.jobs if shard.stored.jobs else 0.0
            if self.is_ordered:  # a lane has one request at a time
                possible = min(possible, LANES * load.events_per_full_batch / load.answer_seconds * PACE)
            wanted.append(int(possible + 1e-6))
        if sum(wanted) > most:
            wanted = share_out(most, wanted)
        for shard, count, cost in zip(self.shards, wanted, costs, strict=True):
            for cohort in shard.stored.take(float("inf"), count):
                self.note(cohort, now)
                shard.busy += cohort.jobs * cost
                shard.busy_now += cohort.jobs * cost / (PACE * 1e6)

    def note(self, cohort: Cohort, now: float) -> None:
        """Count what was delivered."""
        self.delivered += cohort.events
        begin, length = self.setup.outage
        is_calm = not length or now < begin
        for share in _SHARES:
            seconds = max(now - cohort.since + share * cohort.spread, 0.0) + self.load.answer_seconds
            self.latency.add(seconds, cohort.events / len(_SHARES))
            if is_calm:
                self.calm.add(seconds, cohort.events / len(_SHARES))

    # -- a run

    def settle_outside(self) -> None:
        """Have each producer hold its share of what waits outside: all of them give theirs in the same measure."""
        held, there = sum(self.producers.outside), sum(shard.outside.events for shard in self.shards)
        share = there / held if held else 0.0
        self.producers.outside = [each * share for each in self.producers.outside]

    def count_waiting(self) -> int:
        """Return the events that are anywhere."""
        shards = sum(shard.stored.events + shard.outside.events for shard in self.shards)
        return shards + sum(self.producers.buffered)

    def run(self) -> Outcome:
        """Play all of it."""
        setup = self.setup
        ticks = 0
        while (now := ticks * PACE) < setup.seconds + setup.patience:
            if now >= setup.seconds and not self.count_waiting():
                break
            self.tick(now)
            self.settle_outside()
            ticks += 1
        waiting = self.count_waiting()
        is_drained = setup.outage[1] and self.drained_at is not None
        drained = self.drained_at - sum(setup.outage) if is_drained else None
        core = max(min(now, setup.seconds + setup.patience), PACE) * 1e6
        shares = [shard.busy / core for shard in self.shards]
        return Outcome(
            accepted=self.accepted,
            refused=self.refused,
            delivered=self.delivered,
            waiting=waiting,
            lost=self.lost,
            events_per_batch=self.batched / max(self.jobs, 1e-9),
            jobs_per_second=self.jobs / setup.seconds,
            peak_shard_bytes=self.peak_shard,
            peak_outside=self.peak_outside,
            peak_spill_bytes=self.peak_spill,
            utilisation=sum(shares) / len(shares),
            busiest=max(shares),
            commit_p99_ms=self.commits.at(0.99),
            latency={share: self.latency.at(share) for share in (0.5, 0.99, 1.0)},
            calm_p99=self.calm.at(0.99),
            drain_seconds=drained,
        )


def simulate(setup: Setup, seed: int, constants: Constants = MEASURED) -> Outcome:
    """Play *setup*. The same *seed* gives the same outcome."""
    return _Fleet(setup, seed, constants).run()
