"""Each backend as the model tests drive it: how its time is moved, how it is damaged, how its process dies."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from itertools import count
from pathlib import Path
from unittest import mock

import redis

from eventspool._backends.memory import MemoryBackend
from eventspool._backends.sqlite.backend import SQLiteBackend
from eventspool._config import SQLiteOpts
from eventspool._exceptions import QueueUnavailable
from redis_servers import make_backend, move_clock, new_queue_name

_IN_MEMORY = (
    "/dev/shm" if Path("/dev/shm").is_dir() else None
)  # thousands of syncs: a busy disk took minutes for them
_EPOCH = 1_000_000.0


class MemoryQueue:
    """The memory backend."""

    def __init__(self, clock, **options) -> None:
        self.backend = MemoryBackend(clock=self._keep(clock), **options)

    def _keep(self, clock):
        self._behind = 0.0
        return lambda: _EPOCH + clock() - self._behind

    def pass_time(self, seconds: float) -> None:
        """The clock that was given has moved already."""

    def set_clock_back(self, seconds: float) -> None:
        self._behind += seconds

    def reopen(self) -> None:
        """It lives as long as its process."""

    def overwrite(self, job_id: str, payload: bytes) -> None:
        entry = self.backend._entries.find(job_id)
        entry.payload = payload

    remove = unheard = None

    def end(self) -> None:
        self.backend.close()


@contextlib.contextmanager
def _unheard(way, name: str):
    """What goes by *way* meanwhile is done, but whoever asked for it hears that the queue is away."""
    act = getattr(way, name)

    def act_unheard(*args, **options):
        act(*args, **options)
        raise QueueUnavailable("the answer was lost")

    with mock.patch.object(way, name, act_unheard):
        yield


class SQLiteQueue(MemoryQueue):
    """A file; its process dies without a word and another opens what it has written by then."""

    def __init__(self, clock, **options) -> None:
        self._folder = tempfile.TemporaryDirectory(dir=_IN_MEMORY)
        self._lives = count()
        self._path = f"{self._folder.name}/{next(self._lives)}.db"
        self._options = {**options, "clock": self._keep(clock), "queue_name": "q", "prefix": "p"}
        self._open()

    def _open(self) -> None:
        self.backend = SQLiteBackend(SQLiteOpts(path=self._path, synchronous="normal"), **self._options)

    def reopen(self) -> None:
        """Go on with a copy of the file and its log as they are; closing would first move the log into the file."""
        left, self._path = self._path, f"{self._folder.name}/{next(self._lives)}.db"
        for end in ("", "-wal"):
            if Path(left + end).exists():
                shutil.copyfile(left + end, self._path + end)
        self.backend.close()
        self._open()

    def unheard(self):
        return _unheard(self.backend._file, "run")

    def overwrite(self, job_id: str, payload: bytes) -> None:
        self._execute("update payloads set payload = :payload where seq in", job_id, payload)

    def remove(self, job_id: str) -> None:
        self._execute("delete from payloads where seq in", job_id)

    def _execute(self, change: str, job_id: str, payload: bytes = b"") -> None:
        self.backend.close()
        db = sqlite3.connect(self._path)
        with db:
            rows = "(select seq from jobs where id = :id union select seq from failed where id = :id)"
            assert db.execute(f"{change} {rows}", {"id": job_id, "payload": payload}).rowcount == 1
        db.close()

    def end(self) -> None:
        self.backend.close()
        self._folder.cleanup()


class RedisQueue(MemoryQueue):
    """
    A queue on a real server, whose clock cannot be moved: what it has noted is moved instead.

    *clock* is for the others; here time passes by itself as well, so nothing may be close.
    """

    def __init__(self, server, **options) -> None:
        name = new_queue_name()
        self._make = lambda: make_backend(server, queue_name=name, **options)
        self.backend = self._make()
        self._raw = redis.Redis.from_url(server.url, protocol=2)
        self._key = f"test:{{{name}:0}}:"

    def pass_time(self, seconds: float) -> None:
        move_clock(self._raw, self._key, seconds)

    def set_clock_back(self, seconds: float) -> None:
        move_clock(self._raw, self._key, -seconds)

    def reopen(self) -> None:
        """The connections break, and the server forgets its scripts."""
        self._raw.client_kill_filter(_type="normal", skipme=True)
        self._raw.script_flush()

    def unheard(self):
        return _unheard(self.backend._connection, "call")

    def overwrite(self, job_id: str, payload: bytes) -> None:
        self._forget()
        self._raw.hset(f"{self._key}d", job_id, payload)

    def remove(self, job_id: str) -> None:
        self._forget()
        assert self._raw.hdel(f"{self._key}d", job_id)

    def _forget(self) -> None:
        """Have another process's handle go on: this one may remember what it has committed."""
        self.backend.close()
        self.backend = self._make()

    def end(self) -> None:
        self.backend.drop()
        self.backend.close()
        self._raw.close()
