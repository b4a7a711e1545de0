"""
The world of one run: every process in it, the way between them, and what was written down so far.

    producers --+--> [proxy] --> Redis    (or the SQLite file, on a small disk of its own)
      |         |
      |  workers+--> [proxy] --> sink (the data plane) --> arrivals
      +--> ledger --> said
"""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
import signal
import tempfile
import time
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from eventspool import open_queue
from torture.clock import SteppedClock
from torture.disk import mount_private_disk, unmount
from torture.events import digest_of
from torture.history import History, Tail
from torture.processes import HarnessError, Process, ProxyProcess
from torture.redis_process import PRODUCER_PASSWORD, PRODUCER_USER, RedisProcess, free_port

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from eventspool import Queue

__all__ = ["World"]

_WRITE_KEY = "torture"
_QUEUE = "torture"
_DISK_BYTES = 64 << 20
_CONCURRENCY = 4
_JOB_OPTS = {
    "max_attempts": 1_000_000,  # nothing is given up for being unlucky
    "backoff_initial": 0.05,
    "backoff_max": 0.5,
    "visibility_timeout": 1.5,
    "concurrency": _CONCURRENCY,
}
_LATENCY = (0.0, 0.06)
"""Of the data plane, always: so that a kill finds requests under way."""
_SLOWER_IN_ORDER = 5.0
"""One request at a time carries less: so much faster must it be, and so much less may come."""
_SOCKET_TIMEOUT = 1.0
_MOST_CRASHES = 20
_END_SECONDS = 10.0
FINISH_SECONDS = 30.0
"""Within which a process that was told to finish must have; its client's ``close`` may take a third of it."""
_PAGE = 500


class World:
    """
    Everything there is, as a context manager.

    Args:
        backend: ``redis`` or ``sqlite``.
        dice: For seeds of its own.
        in_order: One processor at a time, first in, first out.
        spill: Producers and workers share a spill file, on the small disk. For Redis.
        encrypted: What is stored is encrypted.
        producers: How many at once.
        workers: How many at once.
        pause: Seconds between two events of a producer's thread, on average.
        sabotage: A bug on purpose (see ``sabotage``).
    """

    def __init__(
        self,
        backend: str,
        dice: random.Random,
        *,
        in_order: bool = False,
        spill: bool = False,
        encrypted: bool = False,
        producers: int = 3,
        workers: int = 3,
        pause: float = 0.02,
        sabotage: str | None = None,
    ) -> None:
        self.backend = backend
        self.history = History()
        self.crashes: list[str] = []
        self.folder = Path(tempfile.mkdtemp(prefix="torture-"))
        self.disk = self.folder / "disk"
        self.links: dict[str, ProxyProcess] = {}
        self._dice = dice
        self._in_order = in_order
        self._spill = f"sqlite:///{self.disk / 'spill.db'}" if spill else None
        self.spills, self.encrypted = spill, encrypted
        self._key = b64encode(dice.randbytes(32)).decode() if encrypted else None
        self._sabotage = sabotage
        burden = _SLOWER_IN_ORDER if in_order else 1.0
        self._pause = pause * burden
        self._latency = [bound / burden for bound in _LATENCY]
        self._wanted = {"producer": producers, "worker": workers}
        self.processes = producers + workers
        self.under_way = 1 if in_order else 2 * _CONCURRENCY  # leased: as many again wait for a sender
        self._cast: dict[str, list[Process]] = {role: [] for role in self._wanted}
        self._born = 0
        self._redis: RedisProcess | None = None
        self._said = Tail(self.folder / "said")
        self._arrived = Tail(self.folder / "arrivals")
        self._sink_port = free_port()
        self.clock = SteppedClock(self.folder / "clock")
        self.has_own_disk = False
        self.file_limit: int | None = None

    # -- life --------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        self.disk.mkdir()
        if self.backend == "redis":
            self._redis = RedisProcess()
            self.links["redis"] = self._proxy("redis-link", self._redis.port)
        if self.backend == "sqlite" or self._spill:
            self.has_own_disk = mount_private_disk(self.disk, _DISK_BYTES)
        paths = (str(self.folder / "ledger"), str(self.folder / "said"))
        self.ledger = Process("ledger", *paths, name="ledger", errors=self._errors("ledger"), talks=True)
        self.start_sink()
        self.links["plane"] = self._proxy("plane-link", self._sink_port)
        self.tend()

    def __exit__(self, *_: object) -> None:
        everybody = [
            *self.actors(),
            *self.links.values(),
            *(getattr(self, n, None) for n in ("sink", "ledger")),
        ]
        for process in everybody:
            if process is not None and process.exit_status is None:
                process.signal(signal.SIGKILL)
        if self._redis is not None:
            self._redis.stop()

    def forget(self) -> None:
        """Delete every file."""
        if self.has_own_disk:
            unmount(self.disk)
        shutil.rmtree(self.folder)

    def _errors(self, name: str) -> Path:
        return self.folder / f"errors-{name}"

    def _proxy(self, name: str, upstream: int) -> ProxyProcess:
        seed = self._dice.randrange(1 << 30)
        return ProxyProcess(upstream, seed=seed, name=name, errors=self._errors(name))

    # -- those who work ------------------------------------------------------------------------------------------------

    def actors(self, role: str | None = None) -> list[Process]:
        """Return the present producers, workers, or both."""
        return [process for name, cast in self._cast.items() if role in (None, name) for process in cast]

    @property
    def elders(self) -> dict[str, Process]:
        """
        The oldest of each role, whom only the end of everybody takes.

        They meet every fault and must recover from each: those who are killed again and again cannot hide that they do not.
        In order one worker delivers and the others stand by. That one must die as well, so no worker is spared.
        """
        return {role: self._cast[role][0] for role in (("producer",) if self._in_order else self._cast)}

    def tend(self) -> None:
        """Start a successor for everyone who is gone. One who ended by itself is noted."""
        for role, cast in self._cast.items():
            for process in cast[:]:
                if process.exit_status is None and self._is_overdue(process):
                    self.crashes.append(f"{process.name} would not finish")
                    process.signal(signal.SIGKILL)
                if (status := process.exit_status) is not None:
                    cast.remove(process)
                    if not process.killed and not (process.leaving and status == 0):
                        self.crashes.append(f"{process.name} ended with {status}: {process.last_words()}")
                    process.end(0.0)
            if len(self.crashes) > _MOST_CRASHES:
                raise HarnessError(f"too many processes end by themselves: {self.crashes[-1]}")
            while len(cast) < self._wanted[role]:
                cast.append(self._bear(role))

    @staticmethod
    def _is_overdue(process: Process) -> bool:
        return process.leaving is not None and time.monotonic() > process.leaving + FINISH_SECONDS

    def add_worker(self) -> None:
        """Have one more worker: who starts looks into the spill file, which may be left by those who are gone."""
        self._wanted["worker"] += 1

    def dismiss(self, role: str) -> None:
        """Tell all of a role to finish, and wait. Those who do not, or not in good order, are noted."""
        self._wanted[role] = 0
        leaving, self._cast[role] = self._cast[role], []
        for process in leaving:
            process.ask_to_finish()
        deadline = time.monotonic() + FINISH_SECONDS
        for process in leaving:
            status = process.end(max(deadline - time.monotonic(), 0.1))
            if status is None:
                self.crashes.append(f"{process.name} would not finish")
                process.signal(signal.SIGABRT)
                process.signal(signal.SIGKILL)
            elif status:
                self.crashes.append(f"{process.name} finished with {status}: {process.last_words()}")

    def _bear(self, role: str) -> Process:
        self._born += 1
        name = f"{role[0]}{self._born}"
        settings = {
            "name": name,
            "seed": self._dice.randrange(1 << 30),
            "write_key": _WRITE_KEY,
            "data_plane_url": f"http://127.0.0.1:{self.links['plane'].port}",
            "queue_opts": self._queue_opts(role),
            "spill": self._spill,
            "ledger": str(self.folder / "ledger"),
            "clock": str(self.folder / "clock"),
            "threads": 2,
            "pause": self._pause,
            "sabotage": self._sabotage,
        }
        process = Process(role, json.dumps(settings), name=name, errors=self._errors(name))
        self._limit(process)
        return process

    def limit_files(self, size_bytes: int | None) -> None:
        """Let producers and workers, the next ones too, write no further into any file; ``None``: as far as they want."""
        self.file_limit = size_bytes
        for process in self.actors():
            self._limit(process)

    def _limit(self, process: Process) -> None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        with contextlib.suppress(ProcessLookupError):  # killed meanwhile
            limit = hard if self.file_limit is None else self.file_limit
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, hard))

    def _queue_opts(self, role: str) -> dict[str, Any]:
        opts: dict[str, Any] = {
            "queue_name": _QUEUE,
            "is_multi_processor": not self._in_order,
            "job_opts": _JOB_OPTS,
            "encryption_key": self._key,
        }
        if self._redis is None:
            return opts | {"url": self._url}
        login = f"{PRODUCER_USER}:{PRODUCER_PASSWORD}@" if role == "producer" else ""
        url = f"redis://{login}127.0.0.1:{self.links['redis'].port}/0"
        timeouts = {"socket_timeout": _SOCKET_TIMEOUT, "socket_connect_timeout": _SOCKET_TIMEOUT}
        return opts | {"redis_opts": {"url": url, **timeouts}}

    # -- servers and files ---------------------------------------------------------------------------------------------

    @property
    def redis(self) -> RedisProcess:
        """The Redis server."""
        assert self._redis is not None
        return self._redis

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.disk / "queue.db"

    @property
    def _url(self) -> str:
        """The queue, past all proxies."""
        return f"redis://127.0.0.1:{self._redis.port}/0" if self._redis else f"sqlite:///{self.database}"

    def start_sink(self) -> None:
        """Start the data plane, or a successor of it."""
        args = (_WRITE_KEY, str(self._sink_port), str(self.folder / "arrivals"))
        self.sink = Process("sink", *args, name="sink", errors=self._errors("sink"), talks=True)
        self.script_sink([], 0)

    def script_sink(self, rules: list[dict[str, Any]], seed: int) -> None:
        """Replace the data plane's faults."""
        self._ask_sink(
            "/__faults", json.dumps({"rules": [{"latency": self._latency}, *rules], "seed": seed}).encode()
        )

    def sink_faults(self) -> int:
        """Return how often the present faults have hit."""
        fired: dict[str, int] = json.loads(self._ask_sink("/__stats"))["faults"]
        return sum(count for rule, count in fired.items() if not rule.startswith("latency"))

    def _ask_sink(self, path: str, body: bytes | None = None) -> bytes:
        url = f"http://127.0.0.1:{self._sink_port}{path}"
        with urllib.request.urlopen(url, body, timeout=_END_SECONDS) as answer:
            content: bytes = answer.read()
            return content

    # -- what happened -------------------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Take in what was written down since the last time."""
        for line in self._said.lines():
            if line:
                self.history.hear(line)
        for line in self._arrived.lines():
            self.history.arrive(line)

    def end_ledger(self) -> None:
        """Have the ledger write the rest down, and take that in."""
        if self.ledger.end(_END_SECONDS) != 0:
            raise HarnessError(f"the ledger failed: {self.ledger.last_words()}")
        self.poll()

    def seen(self, link: str, what: str) -> int:
        """Return how many ``requests`` or ``unreached`` connections the proxy on *link* has seen."""
        return int(self.links[link].order()[what])

    def _queues(self) -> Iterator[Queue]:
        """Yield an independent look at the spill file, then at the queue: what is moved meanwhile is seen twice, not never."""
        spilled = self._spill if self._spill and (self.disk / "spill.db").exists() else None
        for url in filter(None, (spilled, self._url)):
            with open_queue(url, queue_name=_QUEUE, encryption_key=self._key) as queue:
                yield queue

    def undelivered(self) -> int:
        """Return how many events wait, are delayed or leased."""
        every = [queue.stats() for queue in self._queues()]
        return sum(stats.waiting.events + stats.delayed.events + stats.leased.events for stats in every)

    def stored(self, *states: str) -> dict[str, tuple[str, str]]:
        """Return digest and reason of every event in *states* of the queue and of its spill file, by id."""
        found = {}
        for queue in self._queues():
            for state in states:
                after = None
                while page := queue.jobs(state, limit=_PAGE, after=after):
                    for job in page:
                        for event in queue.events(job.id):
                            found[event["messageId"]] = (digest_of(event), job.reason or "")
                    after = page[-1].id
        return found

    def damage(self) -> list[str]:
        """Return the names of files that were set aside as damaged."""
        return sorted(path.name for path in self.disk.glob("*.corrupt-*"))
