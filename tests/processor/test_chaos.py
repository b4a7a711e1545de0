"""Everything at once, by the dice: verdicts of every kind, a queue that comes and goes, leases that run out."""

from __future__ import annotations

import json
import random
import threading
import time

import pytest

from eventspool import QueueUnavailable
from eventspool._backends.memory import MemoryBackend
from eventspool._config import Ordering
from eventspool._delivery.verdict import DeliveryResult

from .conftest import OK, Clock, make_job, names_of, until

SHAKY = ("claim", "ack", "settle", "renew", "leave")


class Shaky(MemoryBackend):
    """Is unavailable by chance, before or after it has done what it was asked to."""

    def __init__(self, seed, **options):
        self.chance = random.Random(seed)
        self.odds = 0.0
        self.refused = 0
        super().__init__(**options)

    def __getattribute__(self, name):
        method = super().__getattribute__(name)
        if name not in SHAKY:
            return method

        def call(*args, **kwargs):
            draw = self.chance.random()
            if draw >= self.odds:
                return method(*args, **kwargs)
            if draw < self.odds / 2:
                method(*args, **kwargs)
            self.refused += 1
            raise QueueUnavailable("away")

        return call


class Moody:
    """A data plane that refuses the bad, takes no more than four, names some, and is down every third time."""

    def __init__(self, seed):
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self.taken = []

    def __call__(self, names):
        with self._lock:
            if self._chance.random() < 0.3:
                return DeliveryResult(self._chance.choice([429, 500, 503, 401, 302]))
            if len(names) > 4:
                return DeliveryResult(413)
            named = {i: "no" for i, name in enumerate(names) if name.startswith("named")}
            if any(name.startswith("bad") for name in names):
                return DeliveryResult(self._chance.choice([400, 422]))
            self.taken += [name for i, name in enumerate(names) if i not in named]
            return DeliveryResult(200, body=json.dumps({"errors": named}).encode()) if named else OK


@pytest.mark.parametrize("ordering", [Ordering.FIFO, Ordering.NONE])
@pytest.mark.parametrize("seed", range(6))
def test_every_event_is_delivered_once_or_in_the_failed_queue(rig, monkeypatch, ordering, seed):
    monkeypatch.setattr("eventspool._delivery.assessor.compute_backoff", lambda *args: 0.001)
    chance, mood, clock = random.Random(seed), Moody(seed), Clock()
    backend = Shaky(seed, ordering=ordering, clock=clock)
    rig = rig(mood, ordering=ordering, backend=backend, max_attempts=10_000)
    kinds = ["good"] * 8 + ["bad", "named"]
    jobs = [
        make_job(*[f"{chance.choice(kinds)}-{j}-{k}" for k in range(chance.randint(1, 12))])
        for j in range(15)
    ]
    backend.odds = 0.3
    rig.start()
    rig.commit(*jobs)
    # How many calls the deliveries take depends on the threads; once all are made, what is refused are claims.
    until(lambda: rig.processor.wake() or (rig.unfinished < len(jobs) / 2 and backend.refused > 5))
    backend.odds = 0.0
    until(lambda: rig.processor.wake() or rig.unfinished == 0, timeout=20.0)
    wanted = [name for job in jobs for name in names_of(job.payload)]
    failed = [name for job in rig.failed for name in names_of(backend.payload(job.id))]
    assert sorted(mood.taken) == sorted(name for name in wanted if name.startswith("good"))
    assert sorted(failed) == sorted(name for name in wanted if not name.startswith("good"))
    assert len({end.job_id for end in rig.settled}) == len(rig.settled), "told of once"


@pytest.mark.parametrize("seed", range(4))
def test_two_processors_and_leases_that_run_out_lose_nothing(rig, seed):
    """Duplicates are allowed here: a lease that ran out may belong to somebody who was only slow."""
    mood, clock, chance = Moody(seed), Clock(), random.Random(seed)
    backend = MemoryBackend(clock=clock)
    one, two = (rig(mood, backend=backend, max_attempts=10_000, concurrency=2) for _ in range(2))
    jobs = [
        make_job(*[f"{'bad' if (j + k) % 9 == 0 else 'good'}-{j}-{k}" for k in range(6)]) for j in range(20)
    ]
    one.start()
    two.start()
    backend.commit(jobs)
    for _ in range(20):
        clock.ahead += 61.0
        one.processor.wake()
        two.processor.wake()
        time.sleep(chance.random() / 100)
    until(lambda: one.processor.wake() or two.processor.wake() or one.unfinished == 0, timeout=20.0)
    wanted = {name for job in jobs for name in names_of(job.payload)}
    failed = {name for job in one.failed for name in names_of(backend.payload(job.id))}
    assert set(mood.taken) == {name for name in wanted if name.startswith("good")}
    assert failed == {name for name in wanted if name.startswith("bad")}
