"""
SIGKILL at random instants, under a faulty data plane: no acknowledged event is lost, none is changed, none invented.

The ledger is here, outside of the process that is killed: it hears of every event before the call (issued) and after it
(acknowledged) through a pipe, and of every arrival from the data plane. Duplicates are allowed; that is at least once. But
what was answered 200 comes again only for a kill, and then no more than one process had in flight.

The moments of the kills are the same in every run, a seed for each test. ``EVENTSPOOL_KILL_SEED=12`` draws others.
"""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from e2e.harness import Store, new_queue_name
from e2e.kill_child import fingerprint
from eventspool._delivery.dispatcher import DEFAULT_CONCURRENCY
from eventspool.testing import DataPlane

CHILD = Path(__file__).with_name("kill_child.py")
START_PATIENCE = 60.0
DRAIN_PATIENCE = 150.0
EARLIEST, LATEST = 0.02, 0.4
MOST = 10
"""A run has at most so many times as many kills as were asked for, where too little is going on."""
PORTIONS = 5
"""A commit's share of the tests plays one of them."""
KEPT = 200_000
IN_FLIGHT = 2 * DEFAULT_CONCURRENCY
"""Most batches that a process holds at once: as many wait for a sender as are being sent."""
FAULTS = (
    {"status": 503, "p": 0.12},
    {"status": 429, "retry_after": 0.1, "p": 0.05},
    {"drop": "after", "record": True, "p": 0.08},  # received, and the client cannot know
    {"drop": "before", "p": 0.04},
    {"drop": "half", "record": True, "p": 0.03},
    {"latency": [0.0, 0.06]},
)


@dataclass
class Account:
    """What the children said, and what became of it."""

    issued: dict[str, str] = field(default_factory=dict)
    acked: set[str] = field(default_factory=set)
    kills: int = 0
    kills_amid_leases: int = 0
    outages: int = 0
    durable: list[str] = field(default_factory=list)
    """Seeds of the children whose calls were durable ones, one after another, so that each event was a job."""

    def hear(self, line: bytes) -> None:
        """Take one line of a child."""
        kind, message_id, *rest = line.decode().split()
        if kind == "i":
            self.issued[message_id] = rest[0]
        else:
            self.acked.add(message_id)


class Child:
    """One process that tracks and delivers."""

    def __init__(
        self,
        plane: DataPlane,
        store: Store,
        account: Account,
        mode: str,
        seed: str,
        *,
        pause: float = 0.002,
        spill: str | None = None,
        **opts: object,
    ) -> None:
        settings = {
            "write_key": plane.write_key,
            "data_plane_url": plane.url,
            "queue_opts": store.opts(**opts),
            "mode": mode,
            "seed": seed,
            "threads": 3,
            "pause": pause,
            "spill": spill,
        }
        self._account = account
        self._rest = b""
        self._process = subprocess.Popen(
            [sys.executable, str(CHILD), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )

    def listen(self, seconds: float, *, until_line: bool = False) -> None:
        """Take what the child says for so long, or until it says anything."""
        deadline = time.monotonic() + seconds
        pipe = self._process.stdout
        while (left := deadline - time.monotonic()) > 0:
            if select.select([pipe], [], [], left)[0]:
                data = pipe.read(65536)
                assert data, f"the child ended by itself with {self._process.wait()}"
                self._take(data)
                if until_line:
                    return
        assert not until_line, "the child never began"

    def kill(self) -> None:
        """SIGKILL; then take what was still in the pipe."""
        self._process.kill()
        self._process.wait()
        while data := self._process.stdout.read(65536):
            self._take(data)
        self._close()

    def end(self) -> None:
        """Let the child close its client and end."""
        self._process.stdin.close()
        assert self._process.wait(START_PATIENCE) == 0
        self._close()

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line != b"ready":
                self._account.hear(line)

    def _close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()


def run_kills(
    plane: DataPlane, store: Store, *, kills: int, seed: int, latest: float = LATEST, **opts: object
) -> Account:
    """
    Start and kill *kills* children, let a last one drain the queue, and return the account.

    On a busy machine children may do too little before they are killed. Then more of them are killed, and later.
    """
    dice = random.Random(seed)
    account = Account()
    while account.kills < kills or (account.kills < MOST * kills and not could_fail(account, plane, kills)):
        round_number = account.kills
        plane.script(*FAULTS, seed=dice.randrange(1 << 30))
        mode = dice.choice(["persisted", "grouped"])
        child = Child(plane, store, account, mode, f"{seed}.{round_number}", **opts)
        if mode == "persisted":
            account.durable.append(f"{seed}.{round_number}-")
        child.listen(START_PATIENCE, until_line=True)
        if dice.random() < 0.25:
            plane.script({"outage": True, "from": 0.05, "to": 0.2}, *FAULTS, seed=dice.randrange(1 << 30))
            account.outages += 1
        child.listen(dice.uniform(EARLIEST, latest) * (1 + round_number // kills))
        child.kill()
        account.kills += 1
        account.kills_amid_leases += store.leased_jobs() > 0
    drain(plane, store, account, **opts)
    return account


def count_shared(account: Account, plane: DataPlane) -> int:
    """Return how many requests carried several jobs, as far as the events' ids tell: those of durable calls, one in a job."""
    jobs = (
        sum(message_id.startswith(tuple(account.durable)) for message_id in request.message_ids)
        for request in plane.requests
    )
    return sum(
        durable > 3 for durable in jobs
    )  # three threads call, whose events may share a commit, and so a job


def could_fail(account: Account, plane: DataPlane, kills: int) -> bool:
    """Return whether enough was going on for *kills* kills to do harm."""
    stats = plane.stats()
    return (
        count_shared(account, plane) >= kills
        and len(account.acked) >= 20 * kills
        and account.kills_amid_leases + stats.duplicates >= kills // 5
        and stats.duplicates > 0
        and stats.statuses.get("503", 0) > 0
        and stats.statuses.get("none", 0) > 0
    )


def drain(plane: DataPlane, store: Store, account: Account, **opts: object) -> None:
    """Let a last process deliver what is left, now that the data plane works."""
    plane.script()
    drainer = Child(plane, store, account, "drain", "drain", **opts)
    drainer.listen(START_PATIENCE, until_line=True)
    deadline = time.monotonic() + DRAIN_PATIENCE
    while left := store.stored_events():
        assert time.monotonic() < deadline, f"the queue does not drain: {left} events are left"
        plane.wait_for(lambda _: False, timeout=0.05)
    drainer.end()


def check(
    account: Account, plane: DataPlane, store: Store, *, kills: int, note: str, in_flight: int = IN_FLIGHT
) -> None:
    """Fail unless every promise held and there was something to break."""
    received = {event["messageId"]: fingerprint(event) for event in plane.events}
    stats = plane.stats()
    lost = account.acked - received.keys()
    taken = Counter(request.message_ids for request in plane.requests if request.status == 200)
    repeated = taken.total() - len(taken)
    figures = (
        f"{note}: {account.kills} kills ({account.kills_amid_leases} amid leases, {account.outages} "
        f"outages), {len(account.issued)} issued, {len(account.acked)} acknowledged, {len(received)} delivered, "
        f"{count_shared(account, plane)} requests with several jobs, "
        f"{stats.duplicates} duplicates, {repeated} of {len(taken)} batches taken again for a kill, {len(lost)} lost, "
        f"statuses {dict(stats.statuses)}"
    )
    print(figures)
    assert max(stats.events, stats.requests) <= KEPT, "the data plane kept every event and request"
    assert not lost, f"{figures}: {sorted(lost)[:5]}"
    assert received.keys() <= account.issued.keys(), f"{figures}: invented"
    changed = [i for i, digest in received.items() if account.issued[i] != digest]
    assert not changed, f"{figures}: changed {changed[:5]}"
    assert stats.changed == 0, f"{figures}: two arrivals of one id differ"
    assert store.failed_events() == 0, f"{figures}: something was given up"
    assert repeated <= account.kills * in_flight, f"{figures}: more was repeated than was under way"
    assert account.kills >= kills
    assert could_fail(account, plane, kills), f"{figures}: too little was going on"


@pytest.fixture
def plane():
    with DataPlane(keep_events=KEPT, keep_requests=KEPT) as plane:
        yield plane


@pytest.fixture
def sqlite_store(tmp_path):
    return Store("sqlite", f"sqlite:///{tmp_path}/queue.db", new_queue_name())


@pytest.fixture
def durable_redis_store(redis_server):
    return Store("redis", redis_server.url, new_queue_name())


SHARED = {"is_multi_processor": True, "job_opts": {"visibility_timeout": 1.0, "max_attempts": 1000}}
# A process must outlive the lease of the one before it to come to deliver at all.
IN_ORDER = {
    "is_multi_processor": False,
    "job_opts": {"visibility_timeout": 0.5, "max_attempts": 1000},
    "latest": 1.6,
    "pause": 0.01,  # one sender at a time: it need not catch up for long in the end
}


def _seed(portion: int) -> int:
    return int(os.environ.get("EVENTSPOOL_KILL_SEED") or 20261130 + portion)


def _run(plane, store, kills, opts, note, portion=0):
    seed = _seed(portion)
    note = f"{store.kind}, {note}, seed {seed}"
    print(note)
    account = run_kills(plane, store, kills=kills, seed=seed, **opts)
    in_flight = IN_FLIGHT if opts["is_multi_processor"] else 1
    check(account, plane, store, kills=kills, note=note, in_flight=in_flight)


@pytest.mark.rotating
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_fifty_kills_on_sqlite_lose_change_and_invent_nothing(plane, sqlite_store, portion):
    """All processes may deliver."""
    _run(plane, sqlite_store, 50 // PORTIONS, SHARED, "shared", portion)


@pytest.mark.rotating
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_fifty_kills_on_redis_lose_change_and_invent_nothing(plane, durable_redis_store, portion):
    """All processes may deliver. The server survives, with its append-only file on."""
    _run(plane, durable_redis_store, 50 // PORTIONS, SHARED, "shared", portion)


@pytest.mark.rotating("ten kills in single-processor mode")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_kills_in_single_processor_mode_on_sqlite(plane, sqlite_store):
    """First in, first out; each new process waits for the dead one's lease."""
    _run(plane, sqlite_store, 10, IN_ORDER, "in order")


@pytest.mark.rotating("ten kills in single-processor mode")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_kills_in_single_processor_mode_on_redis(plane, durable_redis_store):
    """First in, first out; each new process waits for the dead one's lease."""
    _run(plane, durable_redis_store, 10, IN_ORDER, "in order")


def test_a_ledger_that_misses_an_event_is_noticed(plane, sqlite_store):
    """The check itself can fail: one acknowledged event that never arrived is enough."""
    account = Account(kills=0)
    account.hear(b"i m1 00")
    account.hear(b"a m1")
    with pytest.raises(AssertionError, match="1 lost"):
        check(account, plane, sqlite_store, kills=0, note="made up")


def test_a_kill_of_the_redis_server_too_loses_nothing(plane, durable_redis_store, redis_server):
    """Producer and server die together; the append-only file, synced always, has what was acknowledged."""
    dice, account = random.Random(7), Account()
    plane.script(*FAULTS, seed=7)
    for number in range(5):
        child = Child(plane, durable_redis_store, account, "persisted", f"both.{number}", **SHARED)
        child.listen(START_PATIENCE, until_line=True)
        child.listen(dice.uniform(0.1, LATEST))
        redis_server.kill()
        child.listen(0.05)
        redis_server.start()
        child.listen(0.2)
        child.kill()
    drain(plane, durable_redis_store, account, **SHARED)
    assert account.acked
    assert account.acked <= set(plane.unique_ids()) <= set(account.issued)


@pytest.mark.rotating
@pytest.mark.slow
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_fifty_kills_of_a_redis_that_syncs_always_lose_nothing(
    plane, durable_redis_store, redis_server, portion
):
    """The producers live on; nothing is delivered meanwhile, so all that was acknowledged rests on the server."""
    seed, account = _seed(portion), Account()
    dice = random.Random(seed)
    plane.script({"status": 503})
    child = Child(plane, durable_redis_store, account, "persisted", f"{seed}", **SHARED)
    for _ in range(50 // PORTIONS):
        deadline, enough = time.monotonic() + START_PATIENCE, len(account.acked) + 20
        while len(account.acked) < enough:
            assert time.monotonic() < deadline, "the producers do not come back"
            child.listen(0.01)
        child.listen(dice.uniform(0.0, 0.1))
        redis_server.restart()
        account.kills += 1
    child.kill()
    assert not plane.events
    drain(plane, durable_redis_store, account, **SHARED)
    received = set(plane.unique_ids())
    lost = account.acked - received
    note = f"seed {seed}: {account.kills} kills of the server, {len(account.issued)} issued, {len(account.acked)} acknowledged"
    print(f"{note}, {len(lost)} lost, {plane.stats().duplicates} duplicates")
    assert not lost, f"{note}: {sorted(lost)[:5]}"
    assert received <= account.issued.keys(), f"{note}: invented"
    assert plane.stats().duplicates == 0, f"{note}: a commit that was cut off was stored twice"
