"""
Failovers and moves of slots under load: ``./run torture failovers [--cluster N] [--moves N] [--sentinel N] …``.

Two processes store events, each of which a call waits for, and two deliver them. Each call is of one user, whose events are
numbered. Meanwhile a server that has a partition of the queue is killed by SIGKILL, stopped by SIGSTOP, or relieved in good
order, or the partition's slot moves. At the end each event whose call was acknowledged must have been delivered, each user's
in order where the queue keeps one, and nothing may be left in any partition. After each fault the acknowledgements must have
been back in time, those of the user who waited longest.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventspool import open_queue
from eventspool._backends.partitioned.ring import Division
from eventspool._backends.redis.store import find_tag
from eventspool.testing import DataPlane
from redis_clusters import DOWN_AFTER, NODE_TIMEOUT, poll, running_cluster, running_sentinels
from torture.failover_load import THREADS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis_clusters import Cluster, Watched

_TESTS = Path(__file__).parent.parent
QUEUE, PREFIX = "failovers", "torture"
PRODUCERS, DELIVERERS = 2, 2
BOUNDS = {"cluster": NODE_TIMEOUT + 4.0, "sentinel": DOWN_AFTER + 5.0}
"""Seconds within which acknowledgements must be back."""
_HANGS = 2.5
"""Seconds for which a stopped server stays so once another one has its place. Its replica may be needed, then calls wait."""
_CALM = 2.0
"""Least seconds of load between two faults."""
_DRAIN = 90.0


@dataclass
class Fault:
    """
    One fault.

    Args:
        kind: Which.
        began: When, in seconds since the epoch.
        gap: How long no call was acknowledged around it.
        longest: The same, of the user of whom that is longest. Others may have gone on.
        rate: Events that were acknowledged in the second before.
    """

    kind: str
    began: float
    gap: float = 0.0
    longest: float = 0.0
    rate: int = 0


@dataclass
class Account:
    """What a run came to."""

    topology: str
    server: str
    faults: list[Fault] = field(default_factory=list)
    acknowledged: int = 0
    refused: int = 0
    lost: int = 0
    duplicates: int = 0
    inversions: int = 0
    left: int = 0
    in_order: bool = False

    def find_faults(self) -> list[str]:
        """Return what must not be."""
        bound = BOUNDS[self.topology]
        wrong = [
            f"{fault.kind}: all acknowledgements were back after {fault.longest:.2f} s"
            for fault in self.faults
            if fault.longest > bound + (_HANGS if fault.kind == "stop" else 0.0)
        ]
        if self.lost:
            wrong.append(f"{self.lost} acknowledged events were not delivered")
        if self.in_order and self.inversions:
            wrong.append(f"{self.inversions} events were first delivered after a later one of the same user")
        if self.left:
            wrong.append(f"{self.left} jobs are left")
        if not self.acknowledged:
            wrong.append("nothing was acknowledged")
        return wrong

    def describe(self) -> str:
        kinds = dict.fromkeys(fault.kind for fault in self.faults)
        rows = []
        for kind in kinds:
            mine = [fault for fault in self.faults if fault.kind == kind]
            first, last = (
                " ".join(f"{gap:.2f}" for gap in sorted(each))
                for each in ([fault.gap for fault in mine], [fault.longest for fault in mine])
            )
            rows.append(f"{kind}: {len(mine)}, first back after {first} s, all after {last} s")
        return (
            f"{self.topology} of {self.server}: {self.acknowledged} acknowledged, {self.refused} not, {self.lost} lost, "
            f"{self.inversions} inversions, {self.duplicates} delivered twice, {self.left} left; "
            f"{statistics.median(fault.rate for fault in self.faults):.0f} a second between faults\n  "
            + "\n  ".join(rows)
        )


@dataclass(frozen=True)
class Terms:
    """
    How the queue is used.

    Args:
        rate: Events a second, of all producers.
        durability: That of the producers' clients.
        ordering: That of the queue.
        partitions: How many it has.
    """

    rate: int = 1000
    durability: str = "persisted"
    ordering: str = "none"
    partitions: int = 1

    def find_keys(self) -> list[str]:
        """Return a key of each partition."""
        generation = 1 if self.partitions > 1 else 0
        parts = Division(generation, self.partitions).parts
        return [f"{PREFIX}:{{{find_tag(QUEUE, part)}}}:" for part in parts]


class Load:
    """Processes that store, and processes that deliver."""

    def __init__(self, url: str, plane: DataPlane, folder: Path, terms: Terms) -> None:
        self._ledgers = [folder / f"acknowledged-{number}" for number in range(PRODUCERS)]
        self._calls: list[tuple[float, str]] = []
        self._read_upto = [0] * PRODUCERS
        options = {"url": url, "plane": plane.url, "queue": QUEUE, "prefix": PREFIX}
        options |= {"ordering": terms.ordering, "partitions": terms.partitions}
        program = [sys.executable, "-m", "torture.failover_load"]
        self._deliverers = [self._start(program, {**options, "ledger": None}) for _ in range(DELIVERERS)]
        store = {**options, "rate": terms.rate / PRODUCERS, "durability": terms.durability}
        self._producers = [
            self._start(program, {**store, "ledger": str(path), "name": f"p{number}"})
            for number, path in enumerate(self._ledgers)
        ]

    @staticmethod
    def _start(program: Sequence[str], options: dict[str, Any]) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(filter(None, (str(_TESTS), os.environ.get("PYTHONPATH"))))
        return subprocess.Popen(
            [*program, json.dumps(options)], stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
        )

    def read(self) -> list[tuple[float, str]]:
        """Return when each call was acknowledged, and its event's id; "" for one that was not."""
        fresh = []
        for number, path in enumerate(self._ledgers):
            if path.exists():
                with path.open() as file:
                    file.seek(self._read_upto[number])
                    text = file.read()
                whole = text[: text.rfind("\n") + 1]
                self._read_upto[number] += len(whole)
                for line in whole.splitlines():
                    at, _, name = line.partition(" ")
                    fresh.append((float(at), name))
        self._calls += sorted(fresh)  # so they are about in order, which ``count_since`` needs
        return self._calls

    def count_since(self, moment: float) -> int:
        calls = self.read()
        late = itertools.takewhile(lambda call: call[0] > moment - 1.0, reversed(calls))
        return sum(bool(name) and at > moment for at, name in late)

    def finish(self) -> None:
        """Have the producers end."""
        self._end(self._producers)

    def close(self) -> None:
        self._end([*self._producers, *self._deliverers])

    @staticmethod
    def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            if process.stdin and not process.stdin.closed:
                process.stdin.close()
        for process in processes:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def find_gap(ledger: Sequence[tuple[float, str]], began: float, until: float) -> float:
    """Return the longest time without an acknowledgement between *began* and *until*."""
    times = sorted(at for at, name in ledger if name and began - 1.0 < at)
    before = [at for at in times if at <= began]
    times = [max(before, default=began), *(at for at in times if began < at <= until)]
    return max((later - at for at, later in itertools.pairwise(times)), default=until - began)


def find_longest_gap(ledger: Sequence[tuple[float, str]], began: float, until: float) -> float:
    """Return the same of the user of whom it is longest."""
    of_users: dict[str, list[tuple[float, str]]] = {}
    for at, name in ledger:
        if name and began - 1.0 < at:
            of_users.setdefault(find_user(name), []).append((at, name))
    return max((find_gap(calls, began, until) for calls in of_users.values()), default=until - began)


def find_user(name: str) -> str:
    """Return whose the event with the id *name* is."""
    return name.rpartition(".")[0]


def count_inversions(names: Iterable[str]) -> int:
    """Return how many events first came after a later one of the same user, by their ids in the order of first arrival."""
    last: dict[str, int] = {}
    found = 0
    for name in names:
        user, _, number = name.rpartition(".")
        found += int(number) < last.get(user, -1)
        last[user] = max(int(number), last.get(user, -1))
    return found


def play(
    topology: str, server: str, steps: Sequence[str], terms: Terms | None = None, *, seed: int = 1
) -> Account:
    """
    Play *steps* one after another, and return what it came to.

    Args:
        topology: ``cluster`` or ``sentinel``.
        server: The server, by the names of ``redis_servers``.
        steps: ``kill``, ``stop``, ``relieve`` or, in a cluster, ``move``.
        terms: How the queue is used.
        seed: Chooses the partition that each step strikes.
    """
    terms = terms or Terms()
    draw = random.Random(seed)
    keys = terms.find_keys()
    account = Account(topology, server, in_order=terms.ordering != "none")
    with ExitStack() as stack:
        found: Any = stack.enter_context(
            running_cluster(server) if topology == "cluster" else running_sentinels(server)
        )
        plane = stack.enter_context(DataPlane(None))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        load = Load(found.url, plane, folder, terms)
        stack.callback(load.close)
        poll(lambda: load.count_since(0.0) > terms.rate // 2, "the load has begun", 60.0)
        for step in steps:
            began = time.time()
            rate = load.count_since(began - 1.0)
            _strike(step, found, draw.choice(keys))
            poll(lambda began=began: _is_back(load, began), f"acknowledgements are back after {step}", 60.0)
            found.wait_until_whole()
            calm = time.time() + _CALM
            poll(lambda calm=calm: load.count_since(calm) > 0, "the load goes on", 60.0)
            fault = Fault(step, began, *_measure(load.read(), began), rate)
            account.faults.append(fault)
            print(f"{step}: back after {fault.gap:.2f} to {fault.longest:.2f} s", file=sys.stderr, flush=True)
        load.finish()
        ledger = load.read()
        _settle(account, found, plane, ledger)
    return account


def _measure(ledger: Sequence[tuple[float, str]], began: float) -> tuple[float, float]:
    until = time.time()
    return find_gap(ledger, began, until), find_longest_gap(ledger, began, until)


def _is_back(load: Load, began: float) -> bool:
    """Say whether every user's calls were acknowledged in the last second, and the fault has had its time to bite."""
    now = time.time()
    if now - began < 1.0 or not load.count_since(now - 0.5):
        return False
    late = itertools.takewhile(lambda call: call[0] > now - 2.0, reversed(load.read()))
    return len({find_user(name) for at, name in late if name and at > now - 1.0}) == PRODUCERS * THREADS


def _strike(step: str, found: Cluster | Watched, key: str) -> None:
    node = _holder(found, key)
    if step == "kill":
        node.kill()
        poll(lambda: _holder(found, key) is not node, "another server has the partition")
        found.restart(node)
    elif step == "stop":
        node.stop_working()
        poll(lambda: _holder(found, key) is not node, "another server has the partition")
        time.sleep(_HANGS)  # calls that met it must not be saved by its return
        node.work_again()
    elif step == "relieve":
        found.fail_over(key)
    else:
        found.move_slot(key)


def _holder(found: Any, key: str) -> Any:
    return found.owner(key) if hasattr(found, "owner") else found.master()


def _settle(account: Account, found: Any, plane: DataPlane, ledger: Sequence[tuple[float, str]]) -> None:
    """Wait until all is delivered, and count."""
    with open_queue(found.url, QUEUE, PREFIX) as queue:

        def count_left() -> int:
            stats = queue.stats()
            return int(stats.waiting.jobs + stats.delayed.jobs + stats.leased.jobs + stats.failed.jobs)

        deadline = time.monotonic() + _DRAIN
        while (left := count_left()) and time.monotonic() < deadline:
            time.sleep(0.2)
    account.left = left
    names = plane.unique_ids()
    arrived = set(names)
    account.inversions = count_inversions(names)
    acknowledged = {name for _, name in ledger if name}
    account.acknowledged = len(acknowledged)
    account.refused = sum(not name for _, name in ledger)
    account.lost = len(acknowledged - arrived)
    account.duplicates = plane.stats().events - len(arrived)


def main(args: Sequence[str] | None = None) -> int:
    """Play what is asked for. 0: everything held; 1: it did not."""
    parser = argparse.ArgumentParser(prog="./run torture failovers", description=__doc__)
    parser.add_argument("--cluster", type=int, default=20, help="failovers of a cluster")
    parser.add_argument("--moves", type=int, default=10, help="moves of the queue's slot")
    parser.add_argument("--sentinel", type=int, default=20, help="failovers by sentinels")
    parser.add_argument("--server", default="redis-8.2")
    parser.add_argument("--rate", type=int, default=1000, help="events a second")
    parser.add_argument("--durability", default="replicated")
    parser.add_argument("--ordering", default="per_user", help="none or per_user")
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument(
        "--kinds", default="kill", help="how failovers come about, in turn: kill, relieve, stop"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(args)
    kinds = options.kinds.split(",")

    def turns(count: int) -> list[str]:
        return [kinds[n % len(kinds)] for n in range(count)]

    in_cluster = [*turns(options.cluster), *["move"] * options.moves]
    random.Random(options.seed).shuffle(in_cluster)
    terms = Terms(options.rate, options.durability, options.ordering, options.partitions)
    wrong: list[str] = []
    for topology, steps in (("cluster", in_cluster), ("sentinel", turns(options.sentinel))):
        if steps:
            account = play(topology, options.server, steps, terms, seed=options.seed)
            print(account.describe(), flush=True)
            wrong += account.find_faults()
    for each in wrong:
        print("WRONG:", each)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
