"""
The queue in Redis, as its operators see and steer it: counts, lists, pauses and mends.

What producers and processors do with it is in ``backend``, and what each key holds, too.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from itertools import chain, count
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from eventspool._backends.redis.codec import (
    MAX_IDS,
    cut,
    cut_rewrites,
    decode_depths,
    decode_fate,
    decode_job,
    decode_stats,
    decode_text,
    encode_rewrite,
)
from eventspool._backends.redis.condition import ask_condition, list_others
from eventspool._backends.redis.connection import Connection
from eventspool._backends.redis.history import History
from eventspool._backends.redis.journals import Journals
from eventspool._backends.redis.settings import MovableBytes
from eventspool._backends.rules import READ_BYTES, count_within, place_of
from eventspool._config import Ordering
from eventspool._envelope import MAX_PAYLOAD_BYTES, OVERSIZED, count_events
from eventspool._figures import Depth
from eventspool._guest.log import Log
from eventspool._job import LOST, JobState, created_at_from_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eventspool._backends.condition import Condition
    from eventspool._backends.redis.shared import SharedSource
    from eventspool._config import RedisOpts
    from eventspool._figures import QueueStats
    from eventspool._job import Failure, Job, Rewrite

__all__ = ["OperatedQueue"]

_log = Log("eventspool.queue")

_KEYS: Final = "dnqtofimwslphxykcj"
"""In the order of ``prelude.lua``, which names them."""
_SEEK_EVERY: Final = 10.0
"""Seconds between two searches for other queues, while this one was never used."""
_FETCH: Final = 64
"""Payloads fetched in one reply."""


class OperatedQueue(Journals):
    """
    A queue in Redis as its operators see and steer it (see ``Backend`` for what each method promises).

    Args:
        opts: Where Redis is.
        queue_name: Name of the queue.
        prefix: Put before every key.
        ordering: What the queue keeps. ``None`` for a caller who only looks and steers: what its producers have it keep.
        source: Where clients come from, where several queues share that. Whoever gives it closes it.
        tag: The hash tag of its keys, where the queue is one partition of another one; ``None``: as ``backend`` says.
    """

    def __init__(
        self,
        opts: RedisOpts,
        *,
        queue_name: str,
        prefix: str,
        ordering: Ordering | None,
        source: SharedSource | None = None,
        tag: str | None = None,
    ) -> None:
        self._name = f"queue {queue_name!r}"
        self._prefix = f"{prefix}:{{{tag or f'{queue_name}:0'}}}:"
        self._payloads = f"{self._prefix}d"
        self._ordering = ordering
        self._connection = Connection(opts, [self._prefix + key for key in _KEYS], self._name, source)
        self._movable = MovableBytes()
        self._history = History()
        self._others: tuple[str, ...] = ()
        self._sought_at = float("-inf")
        self._numbering = threading.Lock()  # commits are numbered one after another

    def _find_ordering(self) -> Ordering:
        """Return the queue's ordering. An observer asks each time: a producer that has another one may come."""
        return self._ask_ordering() if self._ordering is None else self._ordering

    def _ask_ordering(self) -> Ordering:
        """Return what the queue keeps, as it is written down there."""
        fifo, per_user = self._connection.execute("HMGET", self._prefix + "m", "fifo", "per_user")
        if per_user is not None:
            return Ordering.PER_USER
        return Ordering.FIFO if fifo == b"1" else Ordering.NONE

    # Watching

    def lookup(self, ids: Sequence[str], *, epoch: str = "") -> Mapping[str, Failure | None]:
        """Say which of *ids* are still stored. With *epoch*, it is their producer who asks."""
        if not epoch:
            return self._look_up(ids)
        with self._numbering:
            return self._look_up(ids, epoch)

    def _look_up(self, ids: Sequence[str], epoch: str = "") -> Mapping[str, Failure | None]:
        found: dict[str, Failure | None] = {}
        history = self._history
        for chunk in cut(ids):
            producer = (history.token, history.told) if epoch else ("", 0)
            known, *replies = self._connection.run("lookup", epoch, *producer, *chunk)
            if (number := int(known)) >= 0:
                self._note_rewound(number)
            for job_id, reply in zip(chunk, replies, strict=True):
                if reply == 1:
                    found[job_id] = None
                elif reply != 0:
                    found[job_id] = decode_fate(reply)
                elif epoch and history.is_gone(job_id):
                    found[job_id] = LOST
        return found

    def _note_rewound(self, number: int) -> None:
        """Note that the server does not know of what it had acknowledged behind the commit *number*."""
        jobs = self._history.rewind(number, time.time())
        _log.error(
            "The Redis server of %s went back in time: it does not know of the last %d batches that it had acknowledged to "
            "this process (a replica that was behind took its place, or it was restarted with older data).",
            self._name,
            jobs,
        )

    def stats(self) -> QueueStats:
        """
        Count by the index, in one step.

        Jobs are exact. Events and bytes of *delayed* are exact up to 1,000 jobs and estimated from these beyond; *waiting*
        is what remains. The oldest job is sought among the next 100, the leased, and 1,000 delayed ones.
        """
        stats = decode_stats(self._connection.run("stats", self._find_ordering()))
        movable = self._connection.call(self._movable.find)
        return stats if movable == float("inf") else replace(stats, most_bytes=int(movable))

    def processors(self) -> list[tuple[str, float, str]]:
        """List the processors seen within the last half minute, with their notes."""
        reply = self._connection.run("processors")
        return [
            (decode_text(token), int(seen) / 1e6, decode_text(note))
            for token, seen, note in zip(reply[::3], reply[1::3], reply[2::3], strict=True)
        ]

    def reasons(self) -> Mapping[str, Depth]:
        """
        Count the failed jobs by reason.

        The scripts keep these counts, but processes of older versions do not. Where the counts do not add up they are made
        anew, a page at a time. That takes some seconds per million jobs, in which other processes can use the queue.
        """
        sound, *kept = self._connection.run("reasons")
        if sound:
            return decode_depths(kept)
        found: dict[str, Depth] = {}
        for start in count(0, MAX_IDS):
            page = self._connection.run("reasons_page", start, MAX_IDS)
            if not page:
                break
            for reason, more in decode_depths(page).items():
                so_far = found.get(reason, Depth())
                found[reason] = Depth(
                    so_far.jobs + more.jobs, so_far.events + more.events, so_far.bytes + more.bytes
                )
        figures = [(reason, f"{d.jobs}:{d.events}:{d.bytes}") for reason, d in found.items()] or [("", "")]
        self._connection.run("reasons", *chain.from_iterable(figures))
        return found

    def jobs(self, state: JobState, *, limit: int, after: Job | str | None = None) -> list[Job]:
        """List jobs by their due (or failed) time, at most 1,000."""
        job_id, stood = place_of(after)
        since = created_at_from_id(job_id) if stood is None else stood
        page = (max(0, min(limit, MAX_IDS)), job_id, round(since * 1e6), int(stood is not None))
        reply = self._connection.run("jobs", self._find_ordering(), state.value, *page)
        return [decode_job(state, *reply[at : at + 5]) for at in range(0, len(reply), 5)]

    def scan(self, cursor: str = "") -> tuple[list[str], str]:
        """
        Return the ids of some jobs, and the cursor of the next call.

        The size of a job is stored for as long as the job is, so the hash of the sizes is scanned. Where damage has taken one,
        ``repair`` stores it anew.
        """
        behind, page = self._connection.execute("HSCAN", self._prefix + "n", cursor or 0, "COUNT", MAX_IDS)
        return [decode_text(job_id) for job_id in page], str(behind) if behind else ""

    def payload(self, job_id: str) -> bytes | None:
        """Return one job's envelope, or ``None``."""
        return self.payloads([job_id])[job_id]

    def payloads(self, ids: Sequence[str]) -> Mapping[str, bytes | None]:
        """Return the envelopes of the first of *ids*."""
        ids = ids[:MAX_IDS]
        sizes = self._connection.run("sizes", *ids)
        within = count_within(sizes, READ_BYTES)
        found = self._fetch(ids[:within], sizes[:within], at_once=MAX_IDS)
        return dict(zip(ids[:within], found, strict=True))

    def _fetch(
        self,
        ids: Sequence[str],
        sizes: Sequence[int],
        known: Mapping[str, bytes] = MappingProxyType({}),
        *,
        at_once: int = _FETCH,
    ) -> list[bytes | None]:
        """
        Return the payloads of *ids*, ``None`` for those that are missing.

        Those that are *known* already are not fetched. Nor is one that is larger than any batch of ours, which would fill
        the memory of this process: ``OVERSIZED`` stands for it.
        """
        found: dict[str, bytes] = {**known}
        stored = zip(ids, sizes, strict=True)
        fetched = [i for i, size in stored if size <= MAX_PAYLOAD_BYTES and i not in known]
        for chunk in cut(fetched, at_once):
            found.update(zip(chunk, self._connection.execute("HMGET", self._payloads, *chunk), strict=True))
        return [found.get(i, OVERSIZED) or None for i in ids]

    def condition(self) -> Condition:
        """Ask the server itself whether it would take a write, in a transaction that is never run."""
        return self._connection.call(ask_condition, self._prefix, self._name)

    def list_others(self) -> tuple[str, ...]:
        """Return the other queues of the server, as an operator would name them; they are sought every few seconds at most."""
        now = time.monotonic()
        if now - self._sought_at > _SEEK_EVERY:
            self._others = self._connection.call(list_others, self._prefix)
            self._sought_at = now
        return self._others

    # Steering

    def replay(self, ids: Sequence[str]) -> int:
        """Move failed jobs to the end of the queue, with no attempts counted."""
        return self._run_in_chunks("replay", ids, self._find_ordering())

    def purge(self, state: JobState, ids: Sequence[str]) -> int:
        """Delete those of *ids* that are in *state*, never a leased job."""
        if state is JobState.LEASED:
            return 0
        return self._run_in_chunks("purge", ids, self._find_ordering(), state.value)

    def expedite(self, ids: Sequence[str]) -> int:
        """Make delayed jobs due at once."""
        return self._run_in_chunks("expedite", ids, self._find_ordering())

    def pass_on(self, ids: Sequence[str], *, remember: bool = True) -> int:
        """Forget jobs that another queue has taken."""
        return self._run_in_chunks("pass_on", ids, int(remember))

    def _run_in_chunks(self, name: str, ids: Sequence[str], *terms: object) -> int:
        """Run the script *name* on as many of *ids* at a time as it takes. Return the sum of its counts."""
        return sum(int(self._connection.run(name, *terms, *chunk)) for chunk in cut(ids))

    def pause(self, paused: bool) -> None:  # noqa: FBT001
        """Stop or resume handing out jobs."""
        self._connection.run("pause", int(paused))

    def rewrite(self, rewrites: Sequence[Rewrite]) -> list[bool]:
        """Put payloads in the place of others."""
        done: list[bool] = []
        for chunk in cut_rewrites(rewrites):
            done += map(
                bool, self._connection.run("rewrite", *chain.from_iterable(map(encode_rewrite, chunk)))
            )
        return done

    def repair(self) -> int:
        """Queue payloads again that no index knows, and set damaged sizes and totals right."""
        complete, sane = self._connection.run("audit")
        pages = () if complete else self._stored_events()
        found = sum(int(self._connection.run("reindex", *chain.from_iterable(page))) for page in pages)
        if not sane:
            self._connection.run("recount")
        if found:
            _log.warning("Found %d jobs without an index in %s and queued them again.", found, self._name)
        return found

    def _stored_events(self) -> Iterator[Sequence[tuple[str, int]]]:
        """Scan all payloads for their ids and numbers of events."""
        cursor = 0
        while True:
            cursor, page = self._connection.execute("HSCAN", self._payloads, cursor, "COUNT", 100)
            yield from cut([(decode_text(job_id), count_events(stored)) for job_id, stored in page.items()])
            if not cursor:
                return

    def drop(self) -> None:
        """Delete every key of the queue, and so all of its jobs, leased ones too. No user is offered this."""
        self._connection.execute("DEL", *(self._prefix + key for key in _KEYS))
