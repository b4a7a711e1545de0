"""
A queue of Bull's, version 4, in Redis: its keys, and the steps that take a job out of it.

Bull keeps the ids of waiting jobs in the list ``wait``, or ``paused`` while the queue is paused, those that a process works
on in the list ``active``, and delayed, failed and completed ones in sorted sets. A job is a hash under its id, and the process
that works on it keeps a lock beside it. Processes take the last id of a list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Self

from eventspool._backends.redis.connection import Connection
from eventspool._exceptions import QueueError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from eventspool._config import RedisOpts

__all__ = ["PLACES", "BullQueue", "Held", "StoredJob"]

PLACES = ("active", "waiting", "paused", "delayed", "failed")
"""Where an unfinished or a failed job can be, in the order in which they are taken over."""

_LISTS = {"active": "active", "waiting": "wait", "paused": "paused"}
_KEYS = ("wait", "active", "paused", "delayed", "failed", "priority", "stalled", "meta-paused")
_PRELUDE = """
local LISTS = {waiting = KEYS[1], active = KEYS[2], paused = KEYS[3]}
local DELAYED, FAILED, PRIORITY, STALLED, META_PAUSED = KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
"""
_PAGE = 50
_PAGE_BYTES = 16 * 1024 * 1024
_LARGEST = 64 * 1024 * 1024
"""Bytes of the largest job that is read. The SDKs make batches of half a megabyte."""


Held = dict[str, tuple[str, str]]
"""Jobs that no Node process can take for a while: id -> its score among the delayed ones before, and since; "" for none."""


@dataclass(frozen=True, slots=True)
class StoredJob:
    """
    A job as Bull has it.

    Args:
        id: Its id.
        place: One of ``PLACES``.
        data: Its data; ``None`` where it is gone, or too large to be read.
        timestamp: When it was added, milliseconds since the epoch.
        error: Why it failed, "" where it did not.
        finished_on: When it failed, milliseconds since the epoch.
        is_locked: A Node process works on it.
    """

    id: str
    place: str
    data: bytes | None = field(repr=False)
    timestamp: int
    error: str = field(repr=False)
    finished_on: int
    is_locked: bool


class BullQueue:
    """
    One queue of Bull's.

    Args:
        opts: Where its Redis is.
        name: The queue's name.
        prefix: What its keys begin with, as Bull was told; the SDKs tell it their own prefix in braces.
        hold: Seconds for which jobs are held.
    """

    def __init__(self, opts: RedisOpts, *, name: str, prefix: str, hold: float = 60.0) -> None:
        self._name = name
        self._base = f"{prefix}:{name}:"
        self._hold = round(hold * 1000)
        self._connection = Connection(opts, [self._base + key for key in _KEYS], f"Bull's queue {name!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def require_existing(self) -> None:
        """Raise ``QueueError`` where no Node process has ever used this queue."""
        if not self._connection.execute("EXISTS", self._base + "id"):
            raise QueueError(
                f"Bull has no queue {self._name!r} with these keys there: see --bull-name and --bull-prefix, and the "
                "number of the database in the URL"
            )

    def count(self) -> dict[str, int]:
        """Return how many jobs are in each of ``PLACES``, and how many are ``completed``."""

        def ask(client: Any) -> list[int]:
            pipeline = client.pipeline(transaction=False)
            for place in PLACES:
                (pipeline.llen if place in _LISTS else pipeline.zcard)(self._key(place))
            pipeline.zcard(self._base + "completed")
            return list(pipeline.execute())

        return dict(zip((*PLACES, "completed"), self._connection.call(ask), strict=True))

    def pages(self, place: str, passed_over: Container[str]) -> Iterator[list[StoredJob]]:
        """
        Yield the jobs of a place, some at a time, the next one first; those whose ids are in *passed_over* are not.

        Whoever iterates takes each job away, or puts its id there. Node processes take jobs, too, meanwhile, so that some may
        be left out: then a later call yields them.
        """
        passed = 0
        while ids := self._ids(place, passed):
            fresh = [each for each in ids if each not in passed_over]
            passed += len(ids) - len(fresh)
            while fresh:
                jobs = self._read(place, fresh)
                yield jobs
                fresh = fresh[len(jobs) :]
                passed += sum(job.id in passed_over for job in jobs)

    def hold(self, jobs: Iterable[StoredJob]) -> Held:
        """Keep those of *jobs* from the Node processes that are still where they were, and that no process works on."""
        wanted = [part for job in jobs for part in (job.id, job.place)]
        held = [_text(each) for each in self._run("hold", self._base, self._hold, *wanted)]
        scores = zip(held[1::3], held[2::3], strict=True)
        return dict(zip(held[::3], scores, strict=True))

    def forget(self, held: Held, ids: Iterable[str]) -> set[str]:
        """Delete jobs as far as they are held still, and return the ids of these."""
        given = [part for each in ids for part in (each, held[each][1])]
        return set(map(_text, self._run("forget", self._base, *given)))

    def put_back(self, held: Held, ids: Iterable[str]) -> None:
        """Give jobs back to the Node processes, as far as they are held still; the first one is the next one again."""
        self._run("put_back", *(part for each in ids for part in (each, *held[each])))

    def _key(self, place: str) -> str:
        return self._base + _LISTS.get(place, place)

    def _ids(self, place: str, passed: int) -> list[str]:
        """Return the next ids behind the first *passed* ones."""
        key, first, last = self._key(place), passed, passed + _PAGE - 1
        if place in _LISTS:
            found = self._connection.call(lambda client: client.lrange(key, -1 - last, -1 - first))[::-1]
        else:
            found = self._connection.call(lambda client: client.zrange(key, first, last))
        return list(map(_text, found))

    def _read(self, place: str, ids: Sequence[str]) -> list[StoredJob]:
        """Return the first of the jobs: as many as hold ``_PAGE_BYTES`` together, and at least one."""
        keys = [_bytes(self._base + each) for each in ids]
        sizes = self._ask(*(("HSTRLEN", key, "data") for key in keys))
        count, total = 0, 0
        while count < len(ids) and (count == 0 or total + sizes[count] <= _PAGE_BYTES):
            total += sizes[count] if sizes[count] <= _LARGEST else 0
            count += 1
        fields = ("timestamp", "failedReason", "finishedOn", "data")
        replies = self._ask(
            *(
                call
                for key, size in zip(keys[:count], sizes, strict=False)
                for call in (
                    ("HMGET", key, *(fields if size <= _LARGEST else fields[:-1])),
                    ("EXISTS", key + b":lock"),
                )
            )
        )
        return [
            _stored_job(job_id, place, values, locked)
            for job_id, values, locked in zip(ids[:count], replies[::2], replies[1::2], strict=True)
        ]

    def _ask(self, *commands: Sequence[Any]) -> list[Any]:
        def ask(client: Any) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return list(pipeline.execute())

        return self._connection.call(ask)

    def _run(self, name: str, *arguments: Any) -> Any:
        keys = [self._base + key for key in _KEYS]
        given = [_bytes(each) if isinstance(each, str) else each for each in arguments]
        return self._connection.call(lambda client: client.eval(_script(name), len(keys), *keys, *given))


@cache
def _script(name: str) -> str:
    return _PRELUDE + files("eventspool._operate.bull").joinpath(f"{name}.lua").read_text(encoding="utf-8")


def _stored_job(job_id: str, place: str, values: Sequence[bytes | None], locked: int) -> StoredJob:
    timestamp, error, finished_on, *data = values
    return StoredJob(
        job_id,
        place,
        data[0] if data else None,
        _number(timestamp),
        (error or b"").decode(errors="replace"),
        _number(finished_on),
        bool(locked),
    )


def _text(id_or_score: bytes) -> str:
    return id_or_score.decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _number(text: bytes | None) -> int:
    return int(text) if text and text.isdigit() and len(text) < 16 else 0
