"""What the end-to-end tests stand on: waiting with a deadline, recorded callbacks, clients that must balance."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventspool import Client, open_queue
from eventspool._settling.stats import find_imbalances

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool import ClientStats, Queue
    from eventspool.testing import DataPlane

PATIENCE = 60.0
"""Seconds until a test gives up on something that normally takes milliseconds: the machine may be busy."""
SLACK = 3.0
"""Seconds that a bounded call may overrun its bound on a busy machine. What it must not wait for takes longer."""
_numbers = itertools.count()


def eventually(condition: Callable[[], Any], what: str = "", timeout: float = PATIENCE) -> Any:
    """Return the first true value of *condition*; fail after *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"it never came to: {what or condition}"
        time.sleep(0.005)
    return value


def assert_balanced(stats: ClientStats) -> None:
    """Fail unless every accepted event is in exactly one place."""
    assert find_imbalances(stats) == []


def assert_delivered(client: Client, count: int) -> None:
    """Fail unless a flush leaves nothing pending and *count* events were delivered: by then, or before it began."""
    assert client.flush(timeout=PATIENCE).pending == 0
    assert client.stats().delivered == count, client.stats()


class Calls(list):
    """The arguments of every call to it, as tuples. Serves as any callback."""

    def __init__(self) -> None:
        super().__init__()
        self._called = threading.Condition()

    def __call__(self, *args: Any) -> None:
        with self._called:
            self.append(args)
            self._called.notify_all()

    def await_calls(self, count: int, timeout: float = PATIENCE) -> list[tuple[Any, ...]]:
        """Return the calls once there are *count*; fail when there are more or they do not come."""
        with self._called:
            self._called.wait_for(lambda: len(self) >= count, timeout)
            assert len(self) == count, f"{len(self)} calls, not {count}"
            return list(self)

    def outcomes(self) -> dict[str, Exception | None]:
        """Return error by message id; fail when an id was called twice."""
        ids = [message_id for _, message_id in self]
        assert len(ids) == len(set(ids)), "a callback fired twice"
        return {message_id: error for error, message_id in self}


@dataclass
class Store:
    """A durable queue of one test, and how to reach it."""

    kind: str
    url: str
    queue_name: str

    def opts(self, **more: Any) -> dict[str, Any]:
        """Return ``queue_opts`` for it; ``job_opts`` default to short waits."""
        jobs = {
            "backoff_initial": 0.02,
            "backoff_max": 0.2,
            "visibility_timeout": 2.0,
            **more.pop("job_opts", {}),
        }
        return {"url": self.url, "queue_name": self.queue_name, "job_opts": jobs, **more}

    def open(self) -> Queue:
        """Return a second, independent look at the queue."""
        return open_queue(self.url, queue_name=self.queue_name)

    def stored_events(self) -> int:
        """Return how many events are in it and not given up."""
        with self.open() as queue:
            stats = queue.stats()
        return stats.waiting.events + stats.delayed.events + stats.leased.events

    def failed_events(self) -> int:
        """Return how many events are in the failed queue."""
        with self.open() as queue:
            return queue.stats().failed.events

    def leased_jobs(self) -> int:
        """Return how many jobs are under a lease."""
        with self.open() as queue:
            return queue.stats().leased.jobs


def new_queue_name() -> str:
    """Return a name that no other test of this process uses."""
    return f"e2e-{os.getpid()}-{next(_numbers)}"


class Clients:
    """Makes clients of one data plane. At the end each is closed and must balance."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._made: list[Client] = []

    def __call__(self, **options: Any) -> Client:
        """Return a client; it flushes at once unless told otherwise."""
        defaults = {"data_plane_url": self._plane.url, "flush_interval": 0.02}
        client = Client(self._plane.write_key, **{**defaults, **options})
        self._made.append(client)
        return client

    def finish(self) -> None:
        """Close what is open; check every balance before and after."""
        for client in self._made:
            assert_balanced(client.stats())
        for client in self._made:
            client.close(timeout=0.5)
            after = client.stats()
            assert_balanced(after)
            assert after.buffered == 0, f"a closed client holds nothing: {after}"


def unmeasured_environment() -> dict[str, str]:
    """Return the environment of a program that runs without coverage."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def run_python(
    code: str | Path, *args: str, timeout: float = 90.0, check: bool = True, measured: bool = True
) -> subprocess.CompletedProcess[str]:
    """
    Run *code*, or the file of that path, in a fresh interpreter, warnings being errors, and return what it printed.

    Not *measured*, without coverage: it has a lock that a child forked beside other threads may inherit locked, and that a
    signal handler may interrupt the holder of.
    """
    env = dict(os.environ) if measured else unmeasured_environment()
    program = [str(code)] if isinstance(code, Path) else ["-c", code]
    result = subprocess.run(
        [sys.executable, "-W", "error", *program, *args],
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check:
        assert result.returncode == 0, f"exit status {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result


_SAID = "keeps no append-only file", "create_persistence_queue was called again"
"""What programs are told rightly: of the test's own Redis, and of a call that comes a second time."""


def unexpected_lines(errors: str) -> list[str]:
    """Return the lines that a program had no reason to write to its standard error."""
    return [line for line in errors.splitlines() if not any(map(line.count, _SAID))]
