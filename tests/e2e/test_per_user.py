"""
The order per user at a real data plane: several producers and processors, of which some are killed, requests that fail, and a
queue that is divided anew meanwhile.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from e2e.harness import PATIENCE, eventually
from eventspool import QueueOpts, open_queue
from eventspool.testing import DataPlane

PROGRAM = Path(__file__).parent / "programs/per_user.py"
FAULTS = (
    {"status": 503, "p": 0.08},
    {"drop": "after", "record": True, "p": 0.04},
    {"drop": "before", "p": 0.03},
    {"latency": [0.0, 0.03]},
)


@pytest.fixture
def plane():
    """A local data plane that keeps all that it receives."""
    with DataPlane(keep_events=200_000, keep_requests=200_000) as plane:
        yield plane


class Child:
    """A process, and how many of its events are stored for certain."""

    def __init__(self, settings) -> None:
        self.settings, self.stored, self.is_ready = settings, 0, False
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        for line in self.process.stdout:
            self.is_ready = True
            if line.startswith(b"a "):
                self.stored = int(line[2:])

    def kill(self) -> None:
        self.process.kill()
        self.end()

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self._listener.join(PATIENCE)
        self.process.stdout.close()


def play(plane, server, name, *, partitions, seed, events=4_000, resize=(), kills=4):
    """Produce and deliver; return the producers, the killed ones too."""
    dice = random.Random(seed)
    opts = {
        "url": server.url,
        "queue_name": name,
        "ordering": "per_user",
        "partitions": partitions,
        "job_opts": {
            "visibility_timeout": 1.0,
            "backoff_initial": 0.02,
            "backoff_max": 0.1,
            "max_attempts": 1_000,
        },
    }
    common = {
        "write_key": plane.write_key, "data_plane_url": plane.url, "queue_opts": opts, "users": 100, "events": events,
    }  # fmt: skip
    plane.script(*FAULTS, seed=seed)
    numbers = iter(range(1_000))

    def begin(role) -> Child:
        number = next(numbers)
        seed_of_it = f"s{seed}x{number}"
        return Child({**common, "role": role, "seed": seed_of_it, "family": f"f{number}"})

    producers = [begin("producer") for _ in range(2)]
    consumers = [begin("consumer") for _ in range(2)]
    dead = []
    try:
        for child in [*producers, *consumers]:
            eventually(lambda child=child: child.is_ready)
        for number in range(kills):
            time.sleep(dice.uniform(0.3, 0.8))
            if number < len(resize):
                with open_queue(server.url, queue_name=name) as queue:
                    queue.resize(resize[number])
            crowd = producers if dice.random() < 0.4 else consumers
            victim = crowd.pop(dice.randrange(len(crowd)))
            victim.kill()
            if victim.settings["role"] == "producer":
                dead.append(victim)
            crowd.append(begin(victim.settings["role"]))
        for child in producers:
            child.process.wait(PATIENCE)
        with open_queue(server.url, queue_name=name) as queue:
            eventually(
                lambda: not (s := queue.stats()).waiting.jobs + s.delayed.jobs + s.leased.jobs, "it drains"
            )
    finally:
        for child in [*producers, *consumers]:
            child.kill()
    return [*dead, *producers]


def check(plane, producers) -> None:
    """Nothing that was stored is missing, and no event came for the first time behind a later one of its user."""
    seen, last = set(), {}
    for event in plane.events:
        if event["messageId"] in seen:
            continue
        seen.add(event["messageId"])
        number = event["properties"]["n"]
        assert last.get(event["userId"], -1) < number, (
            f"{event['userId']}: {number} behind {last[event['userId']]}"
        )
        last[event["userId"]] = number
    missing = {
        f"{child.settings['seed']}-{n}" for child in producers for n in range(child.stored)
    } - seen  # fmt: skip
    assert not missing, f"{len(missing)} stored events never came"
    assert sum(child.stored for child in producers) > 1_000


@pytest.mark.rotating("per user", seldom=True)
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("seed", range(5))
def test_each_users_events_come_in_order_through_kills_and_retries(plane, redis_server, partitions, seed):
    producers = play(plane, redis_server, "events", partitions=partitions, seed=seed)
    check(plane, producers)


@pytest.mark.rotating("per user", seldom=True)
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(5))
def test_each_users_events_come_in_order_while_the_queue_is_divided_anew(plane, redis_server, seed):
    producers = play(plane, redis_server, "events", partitions=1, seed=seed, resize=(4, 2, 8))
    check(plane, producers)


@pytest.mark.parametrize("partitions", [1, 4])
def test_what_waited_in_memory_is_cut_by_users_when_a_queue_comes(plane, shared_redis, clients, partitions):
    """Batches in memory have no order per user. Behind a data plane that is away they wait for the queue."""
    plane.script({"outage": True})
    client = clients(flush_interval=0.05)
    told = []
    for n in range(300):
        client.track(f"u{n % 20}", "step", {"n": n}, callback=lambda error, _, n=n: told.append((n, error)))
    eventually(lambda: client.stats().retried)
    client.create_persistence_queue(
        QueueOpts(
            url=shared_redis.url,
            queue_name=f"handover{partitions}",
            ordering="per_user",
            partitions=partitions,
            job_opts={"backoff_initial": 0.02, "backoff_max": 0.05},
        )
    )
    for n in range(300, 400):
        client.track(f"u{n % 20}", "step", {"n": n}, callback=lambda error, _, n=n: told.append((n, error)))
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    plane.script()
    assert client.flush(timeout=PATIENCE).pending == 0
    eventually(lambda: len(told) == 400)
    assert sorted(told) == [(n, None) for n in range(400)]
    last = {}
    for event in plane.events:
        assert last.get(event["userId"], -1) < event["properties"]["n"]
        last[event["userId"]] = event["properties"]["n"]
