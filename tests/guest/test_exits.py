"""
Ways to leave with a request stuck in a data plane that accepts connections and never answers.

However a process leaves, it is gone in time, says nothing unasked, and what it had stored is in the queue, whole: another
process delivers it. All ways of one kind of queue are tried at the same time, since each consists of waiting.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.harness import Store, new_queue_name, run_python
from eventspool._redis_server import RedisServer
from eventspool.testing import DataPlane

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.alone

BUDGET = 5.0
"""Seconds that the exit handler may take, as documented."""
SLACK = 3.0
"""More seconds, for a busy machine. Whoever waits for the exit handler in vain, or for the data plane, takes longer."""
EVENTS = 20
PATIENCE = 100.0

PROGRAMS = Path(__file__).parent / "programs"

WAYS = {
    "the last line": 0,
    "sys.exit": 3,
    "an exception": 1,
    "close": 0,
    "SIGTERM": -signal.SIGTERM,
    "handled": -signal.SIGTERM,
    "a handler that closes": 0,
    "a handler that closes amid a flush": 0,
    "SIGINT": -signal.SIGINT,
    "SIGINT twice": -signal.SIGINT,
    "os._exit": 4,
    "os._exit of a daemon thread": 4,
    "early": 0,
    "late": 0,
    "__del__ at shutdown": 0,
    "__del__ of a cycle at shutdown": 0,
    "daemon threads that track": 0,
    "a daemon thread that flushes": 0,
    "a daemon thread that closes": 0,
    "SIGINT amid an awaited flush": -signal.SIGINT,
    "a flush that is awaited no longer": 0,
    "a client made at exit": 0,
}
"""The exit status that a process must have, by the way on which it leaves. ``programs/leaving.py`` knows the ways."""
SIGNALS = {
    "SIGTERM": [(0.3, signal.SIGTERM)],
    "handled": [(0.3, signal.SIGTERM)],
    "a handler that closes": [(0.3, signal.SIGTERM)],
    "a handler that closes amid a flush": [(0.3, signal.SIGTERM)],
    "SIGINT": [(0.3, signal.SIGINT)],
    "SIGINT amid an awaited flush": [(1.0, signal.SIGINT)],
    "SIGINT twice": [(0.3, signal.SIGINT), (0.5, signal.SIGINT)],
}
"""Signals by way, and the seconds before each: the process then waits for it, or its exit handlers run."""
AT_ONCE = {"SIGTERM", "SIGINT twice", "os._exit", "os._exit of a daemon thread"}
"""Ways on which nothing of ours is waited for."""


@dataclass
class Departure:
    """
    How one process left: its exit status, how long it took, what it said.

    And what arrived from all queues afterwards: the ids, the names of events that were not ``E``, the duplicates.
    """

    store: Store | None
    ids: list[str] = field(default_factory=list)
    status: int | None = None
    seconds: float = 0.0
    errors: str = ""
    arrived: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    duplicates: int = 0


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """Listen on a port whose connections the kernel accepts, and nobody reads."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class Leaver:
    """A process that will leave on one way, from its start to its end."""

    def __init__(self, url: str, way: str, store: Store | None) -> None:
        self.way = way
        self.departure = Departure(store)
        opts = store.opts(job_opts={"visibility_timeout": 1.0, "backoff_initial": 0.02}) if store else None
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", PROGRAMS / "leaving.py", url, json.dumps(opts), way],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def await_ready(self) -> None:
        """Read the ids of what it has stored; then it has a request under way."""
        while (line := self._process.stdout.readline().strip()) != "ready":
            assert line, self._process.communicate()[1]
            self.departure.ids.append(line)

    def leave(self) -> None:
        """Let it leave, and note how it does."""
        began = time.monotonic()
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        if self.way in SIGNALS:
            assert self._process.stdout.readline() == "armed\n"
        for pause, number in SIGNALS.get(self.way, []):
            time.sleep(pause)
            began = time.monotonic()
            self._process.send_signal(number)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
        ended = time.monotonic()
        said, self.departure.errors = self._process.communicate()
        for line in said.splitlines():
            word, _, moment = line.partition(" ")
            began = float(moment) if word == "leaving" else began
        self.departure.status = self._process.returncode
        self.departure.seconds = ended - began


def depart(url: str, stores: dict[str, Store | None]) -> dict[str, Departure]:
    """Start a process for every way; once all are ready, let all of them leave."""
    leavers = [Leaver(url, way, store) for way, store in stores.items()]
    for leaver in leavers:
        leaver.await_ready()
    threads = [threading.Thread(target=leaver.leave) for leaver in leavers]
    for thread in threads:
        thread.start()
        time.sleep(0.2)  # not all at the same instant: ending an interpreter takes a core for some time
    for thread in threads:
        thread.join()
    return {leaver.way: leaver.departure for leaver in leavers}


def deliver(departures: dict[str, Departure]) -> None:
    """Have one process deliver all that the queues hold, and note what arrived."""
    stores = [json.dumps(left.store.opts()) for left in departures.values() if left.store]
    with DataPlane() as plane:
        run_python(PROGRAMS / "deliverer.py", plane.url, plane.write_key, *stores, timeout=150.0)
        arrived = frozenset(plane.unique_ids())
        others = frozenset(event["event"] for event in plane.events if event["event"] != "E")
        for left in departures.values():
            left.arrived, left.others, left.duplicates = arrived, others, plane.stats().duplicates


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(kind, marks=pytest.mark.rotating("exits", kind))
        for kind in ("memory", "sqlite", "redis")
    ],
)
def departures(request, tmp_path_factory):
    """One process for every way, all on one kind of queue: how they left."""
    with black_hole() as url, RedisServer() as server:
        stores: dict[str, Store | None] = {}
        for number, way in enumerate(WAYS):
            path = tmp_path_factory.mktemp("queue") / f"{number}.db"
            urls = {"sqlite": f"sqlite:///{path}", "redis": server.url}
            kind = request.param
            stores[way] = Store(kind, urls[kind], new_queue_name()) if kind in urls else None
        departures = depart(url, stores)
        deliver(departures)
        yield departures


@pytest.mark.parametrize("way", WAYS)
def test_the_process_is_gone_in_time_and_says_nothing_unasked(departures, way):
    """With its own exit status."""
    left = departures[way]
    assert left.status == WAYS[way], left.errors
    assert left.seconds < (0.0 if way in AT_ONCE else BUDGET) + SLACK, left.errors
    lines = [line for line in left.errors.splitlines() if not SAID.match(line)]
    if way == "an exception":
        assert lines[-1] == "ValueError: boom"
    elif "SIGINT" not in way:  # which has tracebacks of KeyboardInterrupt
        assert not lines


SAID = re.compile(
    r"refused an event \((closed|starting|invalid)\)|a delivery failed: |delivery is held up: |\d+ events are lost: "
    r"|The Redis server of .* keeps no append-only file|leases could not be given back|storing events takes too long"
)
"""What is said rightly of such an end where nobody has set up logging."""


@pytest.mark.parametrize("way", WAYS)
def test_what_was_stored_is_delivered_by_another_process(departures, way):
    """Every stored event is in the queue, whole, and none of it waits for long: leases were given back, or run out."""
    left = departures[way]
    assert len(left.ids) == EVENTS
    assert left.store is None or set(left.ids) <= left.arrived


def test_nothing_arrives_twice_or_was_invented(departures):
    """What arrives besides was tracked on the way out."""
    [(others, duplicates)] = {(left.others, left.duplicates) for left in departures.values()}
    assert others <= {"At exit", "Deleted", "Elsewhere", "On and on"}
    assert duplicates == 0


def test_the_exit_waits_for_a_close_that_is_under_way_in_another_thread(plane):
    """A daemon thread that closes (so does `handle_sigterm`) dies with the process, and what it still delivers as well."""
    plane.script({"hang": 0.3, "next": 1})
    code = """
import sys, threading, time, eventspool
client = eventspool.Client(sys.argv[2], data_plane_url=sys.argv[1], flush_interval=3600)
client.track("u1", "E")
threading.Thread(target=client.close, daemon=True).start()
while not client.stats().in_flight: time.sleep(0.01)
"""
    run_python(code, plane.url, plane.write_key)
    assert plane.stats().unique == 1


@pytest.mark.parametrize("closed", [True, False])
def test_what_tracks_while_the_interpreter_is_taken_down_hangs_nothing(plane, closed):
    """No thread but the last one runs any more: whoever waited for one would wait for ever."""
    arguments = [plane.url, plane.write_key, *(["closed"] if closed else [])]
    result = run_python(PROGRAMS / "finalizer.py", *arguments, measured=False)
    assert "Traceback" not in result.stderr
    assert plane.stats().unique == 1


def test_a_callback_that_closes_does_not_wait_for_the_close_that_waits_for_it(plane):
    code = """
import sys, threading, time, eventspool
client = eventspool.Client(sys.argv[2], data_plane_url=sys.argv[1])
client.track("u1", "E", callback=lambda *_: client.close())
began = time.monotonic()
client.close(100)
assert time.monotonic() - began < 50.0
"""
    run_python(code, plane.url, plane.write_key)
    assert plane.stats().unique == 1
