"""
Failovers and moves of slots under load: ``python -m torture.failovers [--cluster N] [--moves N] [--sentinel N] …``.

A process stores events, each of which it waits for, and two processes deliver them. Meanwhile the server that has the queue is
killed by SIGKILL, stopped by SIGSTOP, or relieved in good order, or the queue's slot moves. At the end each event whose call
was acknowledged must have been delivered, nothing may be left, and after each fault the acknowledgements must have been back
in time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventspool import open_queue
from eventspool.testing import DataPlane
from redis_clusters import DOWN_AFTER, NODE_TIMEOUT, poll, running_cluster, running_sentinels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis_clusters import Cluster, Watched

QUEUE, PREFIX = "failovers", "torture"
KEY = f"{PREFIX}:{{{QUEUE}:0}}:"
BOUNDS = {"cluster": NODE_TIMEOUT + 4.0, "sentinel": DOWN_AFTER + 5.0}
"""Seconds within which acknowledgements must be back."""
_CALM = 1.0
"""Seconds of load between two faults."""
_DRAIN = 90.0


@dataclass
class Fault:
    """One fault: which, when it began, and how long no call was acknowledged around it."""

    kind: str
    began: float
    gap: float = 0.0


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
    left: int = 0

    def find_faults(self) -> list[str]:
        """Return what must not be."""
        bound = BOUNDS[self.topology]
        wrong = [
            f"{fault.kind}: acknowledgements were back after {fault.gap:.2f} s"
            for fault in self.faults
            if fault.gap > bound
        ]
        if self.lost:
            wrong.append(f"{self.lost} acknowledged events were not delivered")
        if self.left:
            wrong.append(f"{self.left} jobs are left")
        if not self.acknowledged:
            wrong.append("nothing was acknowledged")
        return wrong

    def describe(self) -> str:
        gaps: dict[str, list[float]] = {}
        for fault in self.faults:
            gaps.setdefault(fault.kind, []).append(fault.gap)
        rows = [
            f"{kind}: {len(each)}, back after {' '.join(f'{gap:.2f}' for gap in sorted(each))} s"
            for kind, each in gaps.items()
        ]
        return (
            f"{self.topology} of {self.server}: {self.acknowledged} acknowledged, {self.refused} not, {self.lost} lost, "
            f"{self.duplicates} delivered twice, {self.left} left\n  " + "\n  ".join(rows)
        )


class Load:
    """A process that stores, and two that deliver."""

    def __init__(self, url: str, plane: DataPlane, folder: Path, rate: int, durability: str) -> None:
        self._ledger = folder / "acknowledged"
        self._calls: list[tuple[float, str]] = []
        self._read_upto = 0
        options = {"url": url, "plane": plane.url, "queue": QUEUE, "prefix": PREFIX}
        program = [sys.executable, "-m", "torture.failover_load"]
        store = {**options, "ledger": str(self._ledger), "rate": rate, "durability": durability}
        self._deliverers = [self._start(program, {**options, "ledger": None}) for _ in range(2)]
        self._producer = self._start(program, store)

    @staticmethod
    def _start(program: Sequence[str], options: dict[str, Any]) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*program, json.dumps(options)], stdin=subprocess.PIPE)

    def read(self) -> list[tuple[float, str]]:
        """Return when each call was acknowledged, and its event's id; "" for one that was not."""
        if self._ledger.exists():
            with self._ledger.open() as file:
                file.seek(self._read_upto)
                text = file.read()
            whole = text[: text.rfind("\n") + 1]
            self._read_upto += len(whole)
            for line in whole.splitlines():
                at, _, name = line.partition(" ")
                self._calls.append((float(at), name))
        return self._calls

    def count_since(self, moment: float) -> int:
        calls = self.read()
        late = itertools.takewhile(
            lambda call: call[0] > moment - 1.0, reversed(calls)
        )  # threads write about in order
        return sum(bool(name) and at > moment for at, name in late)

    def finish(self) -> None:
        self._end(self._producer)

    def close(self) -> None:
        for process in (self._producer, *self._deliverers):
            self._end(process)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        if process.stdin and not process.stdin.closed:
            process.stdin.close()
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


def play(
    topology: str, server: str, steps: Sequence[str], *, rate: int = 1000, durability: str = "persisted"
) -> Account:
    """
    Play *steps* one after another, and return what it came to.

    Args:
        topology: ``cluster`` or ``sentinel``.
        server: The server, by the names of ``redis_servers``.
        steps: ``kill``, ``stop``, ``relieve`` or, in a cluster, ``move``.
        rate: Events a second.
        durability: That of the producer's client.
    """
    account = Account(topology, server)
    with ExitStack() as stack:
        found: Any = stack.enter_context(
            running_cluster(server) if topology == "cluster" else running_sentinels(server)
        )
        plane = stack.enter_context(DataPlane(None))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        load = Load(found.url, plane, folder, rate, durability)
        stack.callback(load.close)
        poll(lambda: load.count_since(0.0) > rate // 2, "the load has begun", 60.0)
        for step in steps:
            began = time.time()
            _strike(step, found)
            poll(lambda began=began: _is_back(load, began), f"acknowledgements are back after {step}", 60.0)
            account.faults.append(Fault(step, began))
            account.faults[-1].gap = find_gap(load.read(), began, time.time())
            found.wait_until_whole()
            calm = time.time() + _CALM
            poll(lambda calm=calm: load.count_since(calm) > 0, "the load goes on", 60.0)
        load.finish()
        ledger = load.read()
        _settle(account, found, plane, ledger)
    return account


def _is_back(load: Load, began: float) -> bool:
    """Say whether calls were acknowledged in the last half second, and the fault has had its time to bite."""
    now = time.time()
    return now - began > 1.0 and load.count_since(now - 0.5) > 10


def _strike(step: str, found: Cluster | Watched) -> None:
    node = _holder(found)
    if step == "kill":
        node.kill()
        poll(lambda: _holder(found) is not node, "another server has the queue")
        node.restart()
    elif step == "stop":
        node.stop_working()
        poll(lambda: _holder(found) is not node, "another server has the queue")
        time.sleep(2.5)  # calls that met it must not be saved by its return
        node.work_again()
    elif step == "relieve":
        found.fail_over(KEY)
    else:
        found.move_slot(KEY)


def _holder(found: Any) -> Any:
    return found.owner(KEY) if hasattr(found, "owner") else found.master()


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
    arrived = set(plane.unique_ids())
    acknowledged = {name for _, name in ledger if name}
    account.acknowledged = len(acknowledged)
    account.refused = sum(not name for _, name in ledger)
    account.lost = len(acknowledged - arrived)
    account.duplicates = plane.stats().events - len(arrived)


def main() -> int:
    """Play what is asked for. 0: everything held; 1: it did not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cluster", type=int, default=20, help="failovers of a cluster")
    parser.add_argument("--moves", type=int, default=10, help="moves of the queue's slot")
    parser.add_argument("--sentinel", type=int, default=20, help="failovers by sentinels")
    parser.add_argument("--server", default="redis-8.2")
    parser.add_argument("--rate", type=int, default=1000, help="events a second")
    parser.add_argument("--durability", default="persisted")
    parser.add_argument("--kinds", default="kill,relieve,stop", help="how failovers come about, in turn")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    kinds = options.kinds.split(",")

    def turns(count: int) -> list[str]:
        return [kinds[n % len(kinds)] for n in range(count)]

    in_cluster = [*turns(options.cluster), *["move"] * options.moves]
    random.Random(options.seed).shuffle(in_cluster)
    wrong: list[str] = []
    for topology, steps in (("cluster", in_cluster), ("sentinel", turns(options.sentinel))):
        if steps:
            account = play(topology, options.server, steps, rate=options.rate, durability=options.durability)
            print(account.describe(), flush=True)
            wrong += account.find_faults()
    for each in wrong:
        print("WRONG:", each)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
