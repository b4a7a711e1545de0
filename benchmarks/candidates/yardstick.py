"""
How fast one Python process can be: the best primitives put together, and no guarantee at all.

No lease, no retry, no refusal of wrong events, no bound in bytes, nothing left to find after a crash but rows that nobody
reads. The caller's thread encodes with orjson and appends to a deque; one thread joins, compresses and stores batches; two
threads post them. What costs less than this is measured wrongly or leaves something out.

The queue's URL says what is in between: nothing, SQLite (WAL, synchronous=FULL) or Redis (written and deleted, never read).
"""

from __future__ import annotations

import http.client
import queue
import sqlite3
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import orjson
import redis
import uuid_utils
from isal import isal_zlib

from benchmarks.event import EVENT, USER
from driver import Candidate, Order, run

if TYPE_CHECKING:
    from collections.abc import Callable

_CAPACITY = 100_000
_BATCH_BYTES = 450_000
_BATCHES_PER_WRITE = 8
_FLUSH_INTERVAL = 0.05
_SENDERS = 2
_EVENT_BYTES = 480
"""About; to tell whether another whole batch waits."""
_LIBRARY = {"name": "yardstick", "version": "1.0.0"}
_HEADERS = {
    "Content-Type": "application/json",
    "Content-Encoding": "gzip",
    "Authorization": "Basic a2V5Og==",
}


class _Clock:
    """The time as text, with the second's part cached."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""
        self._milliseconds = [f"{n:03d}Z" for n in range(1000)]

    def __call__(self) -> str:
        moment = time.time()
        second = int(moment)
        if second != self._second:
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
            self._second = second
        return self._text + self._milliseconds[int((moment - second) * 1000)]


class _Store(Protocol):
    def write(self, bodies: list[bytes], done: list[Any]) -> list[Any]:
        """Store *bodies*, delete what is *done*, and return the new ones' keys."""


class _Memory:
    def write(self, bodies: list[bytes], done: list[Any]) -> list[Any]:
        return [None] * len(bodies)


class _SQLite:
    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL").fetchall()
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE batch (id INTEGER PRIMARY KEY, body BLOB)")

    def write(self, bodies: list[bytes], done: list[Any]) -> list[Any]:
        execute = self._db.execute
        execute("BEGIN IMMEDIATE")
        keys = [execute("INSERT INTO batch (body) VALUES (?)", (body,)).lastrowid for body in bodies]
        self._db.executemany("DELETE FROM batch WHERE id = ?", [(key,) for key in done])
        execute("COMMIT")
        return keys


class _Redis:
    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(url)

    def write(self, bodies: list[bytes], done: list[Any]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for body in bodies:
            pipeline.xadd("batches", {"body": body})
        if done:
            pipeline.xdel("batches", *done)
        return pipeline.execute()[: len(bodies)]


def _open_store(url: str | None) -> _Store:
    if url is None:
        return _Memory()
    if url.startswith("sqlite:///"):
        return _SQLite(url.removeprefix("sqlite:///"))
    return _Redis(url)


class Yardstick:
    """The pipeline behind ``track``: one thread that batches, some that send."""

    def __init__(self, port: int, store: _Store) -> None:
        self._port = port
        self._store = store
        self._events: deque[bytes] = deque()
        self._work: queue.Queue[tuple[Any, int, bytes]] = queue.Queue(32)
        self._done: deque[Any] = deque()
        self._taken = 0
        self._sent = [0] * _SENDERS
        self._busy = False
        self._hurry = False
        self._wake = threading.Event()
        self._waits = [False]
        self._now = _Clock()
        threading.Thread(target=self._batch, daemon=True).start()
        for index in range(_SENDERS):
            threading.Thread(target=self._send, args=(index,), daemon=True).start()

    def make_track(self) -> Callable[[str, str, dict[str, Any], dict[str, Any]], bool]:
        """Return ``track``, whose names are all in one closure: faster than attributes."""
        events, put, waits, wake = self._events, self._events.append, self._waits, self._wake
        now, dumps, uuid4 = _Clock(), orjson.dumps, uuid_utils.uuid4

        def track(user_id: str, event: str, properties: dict[str, Any], context: dict[str, Any]) -> bool:
            if not isinstance(event, str) or not isinstance(user_id, str):
                raise TypeError
            if len(events) >= _CAPACITY:
                return False
            put(
                dumps(
                    {
                        "type": "track",
                        "userId": user_id,
                        "event": event,
                        "properties": properties,
                        "context": {**context, "library": _LIBRARY},
                        "messageId": str(uuid4()),
                        "timestamp": now(),
                    }
                )
            )
            if waits[0]:
                waits[0] = False
                wake.set()
            return True

        return track

    def flush(self) -> None:
        """Wait until everything is sent."""
        self._hurry = True
        self._wake.set()
        # In this order: who takes the last event is busy before, and not busy only after it is counted.
        while self._events or self._busy or self._taken > sum(self._sent):
            time.sleep(0.001)
        self._hurry = False

    def _take(self) -> list[bytes]:
        """Take a batch; wait a moment for a fuller one."""
        pop = self._events.popleft
        parts: list[bytes] = []
        size, deadline = 0, None
        while True:
            try:
                while size < _BATCH_BYTES:
                    part = pop()
                    parts.append(part)
                    size += len(part) + 1
                if size > _BATCH_BYTES:
                    self._events.appendleft(parts.pop())
                return parts
            except IndexError:
                pass
            moment = time.monotonic()
            if not parts:
                self._wait()
                continue
            deadline = deadline or moment + _FLUSH_INTERVAL
            if self._hurry or moment >= deadline:
                return parts
            time.sleep(min(0.005, deadline - moment))

    def _wait(self) -> None:
        self._busy = False
        self._waits[0] = True
        if not self._events:
            self._wake.wait(0.1)
        self._wake.clear()
        self._waits[0] = False
        self._busy = True

    def _body(self, parts: list[bytes]) -> bytes:
        text = b'{"batch":[' + b",".join(parts) + b'],"sentAt":"' + self._now().encode() + b'"}'
        return isal_zlib.compress(text, 1, wbits=31)

    def _batch(self) -> None:
        self._busy = True
        while True:
            batches = [self._take()]
            while (
                len(batches) < _BATCHES_PER_WRITE
                and isinstance(self._store, _Redis)
                and len(self._events) * _EVENT_BYTES >= _BATCH_BYTES
            ):
                batches.append(self._take())
            bodies = [self._body(parts) for parts in batches]
            keys = self._store.write(bodies, [self._done.popleft() for _ in range(len(self._done))])
            self._taken += sum(map(len, batches))
            for key, parts, body in zip(keys, batches, bodies, strict=True):
                self._work.put((key, len(parts), body))

    def _send(self, index: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        while True:
            key, events, body = self._work.get()
            connection.request("POST", "/v1/batch", body, _HEADERS)
            answer = connection.getresponse()
            answer.read()
            if answer.status == http.HTTPStatus.OK:
                self._sent[index] += events
                if key is not None:
                    self._done.append(key)


def make(order: Order) -> Candidate:
    """Return a yardstick in front of the queue that is asked for."""
    yardstick = Yardstick(order.port, _open_store(order.queue))
    return Candidate(
        track=partial(yardstick.make_track(), USER, EVENT),
        flush=yardstick.flush,
        rest=yardstick.flush,
        refusal=False,
    )


if __name__ == "__main__":
    run(make)
