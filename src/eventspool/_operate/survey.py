"""
All queues of one or several servers, looked at side by side, again and again.

A queue that comes later is found by the next search, and one server that is away holds up none of the others.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from eventspool._backends.stores import find_store, import_driver
from eventspool._distribution import add_up, percentile
from eventspool._exceptions import QueueError
from eventspool._operate.awaited import await_queue
from eventspool._operate.diagnosis import diagnose, observe
from eventspool._operate.past import Past
from eventspool._operate.standing import Pace, Standing, full_in, measure, stored, worst_first
from eventspool._operate.storage import Room, StorageReader

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from eventspool._backends.found import FoundQueue
    from eventspool._config import QueueOpts
    from eventspool._figures import QueueStats
    from eventspool._history import Minute
    from eventspool._operate.queue import Queue

__all__ = ["ServerRoom", "Survey", "address_of", "find_queues", "stand"]

_AT_ONCE = 8
_SEARCH_SECONDS = 30.0
"""Seconds between two searches for queues: each looks at every key of a server."""
_KEPT_SECONDS = 60.0
"""Without a history, the pace is that of the last minute of looks."""
_NO_LAG: tuple[float | None, float | None, float | None] = (None, None, None)
_MINUTES = 20
"""Minutes of a queue's history that are read: more than its growth is taken of."""


@dataclass(frozen=True, slots=True)
class ServerRoom:
    """
    The room of a server.

    Args:
        server: Where it is, without a password.
        room: What it uses, and what it can use.
        full_in: Seconds until it is full, if its queues go on to grow like this; ``None`` where they do not.
    """

    server: str
    room: Room
    full_in: float | None


def address_of(opts: QueueOpts) -> str:
    """Return where a queue is, without user and password."""
    if not opts.url:
        return "redis"
    parts = urlsplit(opts.url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def find_queues(opts: QueueOpts) -> list[FoundQueue]:
    """
    Return all queues that are where *opts* are, also those of Bull.

    Raises:
        ConfigError: A package is missing, or the store cannot list its queues.
        QueueError: It cannot be reached, or there is nothing.
    """
    import_driver(opts)
    return find_store(opts).list_queues(opts)


def stand(queue: Queue, stats: QueueStats, now: float, minutes: Sequence[tuple[float, Minute]]) -> Standing:
    """Return how full *queue* is, and how fast it fills, from its figures *now* and the *minutes* of its history."""
    opts = queue._opts  # noqa: SLF001 - no part of what programs call
    if opts is None:
        return Standing("", queue.name, "", stats=stats)
    return Standing(
        address_of(opts),
        opts.queue_name,
        opts.prefix,
        stats=stats,
        pace=measure(stats, now, minutes),
        max_jobs=opts.max_jobs,
        max_bytes=opts.max_bytes,
    )


class _Watched:
    """One queue, and what is remembered of it from one look to the next."""

    def __init__(self, opts: QueueOpts, memory_bytes: int | None) -> None:
        self.opts = opts
        self.memory_bytes = memory_bytes
        self._queue = await_queue(opts, lambda absence: None, waits=True)  # noqa: ARG005
        self._past = Past(self._queue, _MINUTES)
        self._looks: list[tuple[float, QueueStats]] = []

    def look(self, now: float) -> Standing:
        opts = self.opts
        standing = Standing(address_of(opts), opts.queue_name, opts.prefix)
        try:
            seen = observe(self._queue, opts.queue_name)
        except QueueError as error:
            return replace(standing, problem=str(error))
        lag = add_up(each.lag_seconds for each in seen.processors if each.lag_seconds is not None)
        minutes = self._past.minutes()
        shares = (
            _NO_LAG if lag is None else (percentile(lag, 0.5), percentile(lag, 0.95), percentile(lag, 0.99))
        )
        if minutes and minutes[0][1].lag_p50 is not None:
            shares = (minutes[0][1].lag_p50, minutes[0][1].lag_p95, minutes[0][1].lag_p99)
        return replace(
            standing,
            troubles=diagnose(seen),
            stats=seen.stats,
            pace=self._pace(seen.stats, now, measure(seen.stats, now, minutes)),
            lag=shares,
            memory_bytes=self.memory_bytes,
            max_jobs=opts.max_jobs,
            max_bytes=opts.max_bytes,
        )

    def _pace(self, stats: QueueStats, now: float, noted: Pace) -> Pace:
        """Return the pace between looks of this survey, and the growth by the queue's history where there is one."""
        self._looks = [look for look in self._looks if look[0] >= now - _KEPT_SECONDS]
        self._looks.append((now, stats))
        (before, first), (last, near) = (
            self._looks[0],
            self._looks[-2] if len(self._looks) > 1 else self._looks[0],
        )
        if now <= last:
            return noted
        jobs, size = stored(stats)
        jobs_before, size_before = stored(first)

        def rate(total: int, was: int) -> float | None:
            return (total - was) / (now - last) if total >= was else None

        return Pace(
            rate(stats.accepted_events, near.accepted_events),
            rate(stats.delivered_events, near.delivered_events),
            rate(stats.failed_events, near.failed_events),
            noted.jobs if noted.jobs is not None else (jobs - jobs_before) / (now - before),
            noted.bytes if noted.bytes is not None else (size - size_before) / (now - before),
        )

    def close(self) -> None:
        self._queue.close()


class Survey:
    """
    Looks at all queues of some servers. One thread uses it.

    Args:
        servers: One queue's options for each server; their names do not count.
        names: Only queues of these names; all where it is empty.
        prefixes: Only queues with these prefixes; all where it is empty.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        servers: Iterable[QueueOpts],
        *,
        names: Collection[str] = (),
        prefixes: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._servers = list(servers)
        self._names, self._prefixes = names, prefixes
        self._clock = clock
        self._pool = ThreadPoolExecutor(_AT_ONCE, "eventspool-survey")
        self._rooms = {address_of(opts): StorageReader(opts) for opts in self._servers}
        self._watched: dict[tuple[str, str, str], _Watched] = {}
        self._unread: dict[str, QueueError] = {}
        self._bull: list[Standing] = []
        self._search_at = float("-inf")

    def look(self) -> list[Standing]:
        """Return how every queue stands, the worst first. A server that cannot be asked is a queue without a name."""
        now = self._clock()
        if not 0 <= now - self._search_at < _SEARCH_SECONDS or self._unread:
            self._search()
            self._search_at = now
        seen = list(self._pool.map(lambda each: each.look(self._clock()), list(self._watched.values())))
        away = [Standing(server, "", "", problem=str(why)) for server, why in self._unread.items()]
        return worst_first([*seen, *away, *self._bull])

    @property
    def outages(self) -> list[QueueError]:
        """Why servers could not be asked for their queues, when that was last tried."""
        return list(self._unread.values())

    def rooms(self, standings: Sequence[Standing]) -> list[ServerRoom]:
        """Return the room of each server that says it; *standings* tell how its queues grow."""
        found = []
        for server, room in zip(
            self._rooms, self._pool.map(StorageReader.read, self._rooms.values()), strict=True
        ):
            if room is not None and server not in self._unread:
                growth = sum(_memory_growth(each) for each in standings if each.server == server)
                found.append(
                    ServerRoom(server, room, full_in(room.limit - room.used, growth) if room.limit else None)
                )
        return found

    def close(self) -> None:
        """Close all connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for watched in self._watched.values():
            watched.close()
        for reader in self._rooms.values():
            reader.close()

    def _search(self) -> None:
        self._unread, self._bull = {}, []
        for opts, found in zip(self._servers, self._pool.map(_try_to_find, self._servers), strict=True):
            server = address_of(opts)
            if isinstance(found, QueueError):
                self._unread[server] = found
                continue
            for each in found:
                self._take(opts, server, each)

    def _take(self, opts: QueueOpts, server: str, found: FoundQueue) -> None:
        is_wanted = not self._names or found.queue_name in self._names
        if not is_wanted or (self._prefixes and found.prefix.strip("{}") not in self._prefixes):
            return
        if found.is_bull:
            from eventspool._figures import Depth, QueueStats

            stats = QueueStats(waiting=Depth(found.jobs), failed=Depth(found.failed_jobs))
            self._bull.append(Standing(server, found.queue_name, found.prefix, stats=stats, is_bull=True))
            return
        key = (server, found.prefix, found.queue_name)
        if key in self._watched:
            self._watched[key].memory_bytes = found.memory_bytes
        else:
            own = replace(opts, queue_name=found.queue_name, prefix=found.prefix)
            self._watched[key] = _Watched(own, found.memory_bytes)


def _try_to_find(opts: QueueOpts) -> list[FoundQueue] | QueueError:
    try:
        return find_queues(opts)
    except QueueError as error:
        return error


def _memory_growth(standing: Standing) -> float:
    """Return the bytes of a server's memory by which a queue grows per second: it takes more there than its payloads have."""
    _, size = stored(standing.stats)
    growth = standing.pace.bytes or 0.0
    return growth * max(1.0, standing.memory_bytes / size) if standing.memory_bytes and size else growth
