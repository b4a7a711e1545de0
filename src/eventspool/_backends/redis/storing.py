"""
How jobs get into a queue in Redis. A commit is one transaction; ``backend`` says of which steps, and what each key holds.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from eventspool._backends.recent import RecentPayloads
from eventspool._backends.redis.clocks import ClockWatch
from eventspool._backends.redis.codec import MAX_IDS, SMALL_COMMIT_BYTES, cut_commit, decode_text, encode_job
from eventspool._backends.redis.divided import DividedQueue
from eventspool._backends.redis.errors import TOO_BIG, error_code
from eventspool._backends.redis.history import History
from eventspool._backends.redis.packer import Packed
from eventspool._backends.redis.risks import format_size
from eventspool._backends.redis.settings import ask_longest
from eventspool._backends.rules import ORDER_RULES
from eventspool._config import Ordering
from eventspool._exceptions import QueueError
from eventspool._job import MOVED, PURGED, CommitResult
from eventspool._routing import Routing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._backends.redis.replication import Replication
    from eventspool._backends.redis.shared import SharedSource
    from eventspool._config import RedisOpts
    from eventspool._job import NewJob

__all__ = ["StoringQueue"]

_REWOUND: Final = -1
_SEALED: Final = -2
"""What the committing scripts reply in the place of a number: the server has lost commits, or the partition is sealed."""
_REJECTED_FROM: Final = 4
"""From there on the reply to a commit names what was rejected."""
_RECENT_BYTES: Final = 4 << 20
"""Most payload remembered after a commit."""


class StoringQueue(DividedQueue):
    """A queue in Redis as producers use it (see ``RedisBackend`` for the arguments)."""

    def __init__(
        self,
        opts: RedisOpts,
        *,
        queue_name: str,
        prefix: str,
        ordering: Ordering | None,
        max_jobs: int,
        max_bytes: int,
        source: SharedSource | None = None,
        replication: Replication | None = None,
        tag: str | None = None,
    ) -> None:
        super().__init__(
            opts, queue_name=queue_name, prefix=prefix, ordering=ordering, source=source, tag=tag
        )
        self._bounds = (max_jobs, max_bytes)
        self._replication = replication
        self._terms: tuple[tuple[object, ...], Packed] = ((), Packed())
        self._recent = RecentPayloads(_RECENT_BYTES)
        self._clock = ClockWatch()
        self._longest: float | None = float("inf")  # None: the server is to be asked

    def abandon(self) -> None:
        """In a forked child: forget every handle that the parent owns, without closing it."""
        self._clock = ClockWatch()
        self._recent = RecentPayloads(_RECENT_BYTES)
        self._history, self._numbering = History(), threading.Lock()
        self._connection.abandon()

    def find_routing(self) -> Routing | None:
        """Return that all of it is one partition, where the order per user is kept."""
        return Routing(0, 1) if self._ordering is Ordering.PER_USER else None

    def commit(self, jobs: Sequence[NewJob]) -> CommitResult:
        """
        Store *jobs* in order, in transactions of at most ``MAX_COMMIT_BYTES``.

        Raises:
            QueueUnavailable: The server cannot be reached; or too few replicas have confirmed the commit. It is stored then,
                and the same commit again asks the replicas again, and stores nothing a second time: some of its jobs may have
                been delivered meanwhile.
        """
        with self._numbering:
            known = self._history.find_unconfirmed(job.id for job in jobs)
            if not known:
                result = self._store(jobs)
                self._clock.look(self._connection, self._prefix)
                return result
            known, epoch = self._confirm(known)
            result = self._store([job for job in jobs if job.id not in known])
        return replace(result, duplicates=result.duplicates + len(known), epoch=result.epoch or epoch)

    def _confirm(self, known: set[str]) -> tuple[set[str], str]:
        """Have replicas confirm jobs that are stored, and were not acknowledged. Return those still stored, and the epoch."""
        # A commit of nothing: it writes its number, behind what is to be confirmed.
        reply = self._connection.call(self._run_commit, "commit", self._find_ordering(), (), ())
        known = self._history.find_unconfirmed(known)  # the server may have lost some: they are stored anew
        self._history.confirm(known)
        return known, decode_text(reply[2])

    def _store(self, jobs: Sequence[NewJob]) -> CommitResult:
        ordering = self._find_ordering()
        if self._is_small(jobs) and (result := self._commit_small(jobs, ordering)) is not None:
            return result
        accepted = duplicates = 0
        rejected: list[str] = []
        impossible: list[str] = []
        stale: list[str] = []
        epoch = ""
        chunks = deque(cut_commit(jobs, self._find_longest()))
        while chunks:
            chunk = chunks.popleft()
            if rejected and ORDER_RULES[ordering].rejects_followers and not self._is_too_long(chunk):
                # Nothing may overtake a rejected job: those that are not stored already are rejected, too.
                stored = self._find_stored(chunk)
                duplicates += sum(job.id in stored for job in chunk)
                rejected += [job.id for job in chunk if job.id not in stored]
                continue
            reply = self._commit_chunk(chunk, ordering)
            if reply:
                accepted += max(reply[0], 0)
                duplicates += reply[1]
                epoch = epoch or decode_text(reply[2])
                (stale if reply[0] == _SEALED else rejected).extend(map(decode_text, reply[_REJECTED_FROM:]))
                if reply[0] == len(chunk) and chunk[0].failure is None:
                    self._recent.keep(chunk)
            elif len(chunk) > 1:
                chunks.extendleft([job] for job in reversed(chunk))
            elif self.lookup([chunk[0].id]).get(chunk[0].id, PURGED) is not PURGED:
                duplicates += 1  # It was stored when the server or the queue took longer ones.
            else:
                impossible.append(chunk[0].id)
        advice = self._find_advice(jobs, rejected)
        return CommitResult(
            accepted, duplicates, tuple(rejected), tuple(impossible), epoch, stale=tuple(stale), advice=advice
        )

    def _is_small(self, jobs: Sequence[NewJob]) -> bool:
        size = sum([len(job.payload) for job in jobs])
        if size > SMALL_COMMIT_BYTES or size > self._find_longest() or not 0 < len(jobs) <= MAX_IDS:
            return False
        return all(job.failure is None for job in jobs)

    def _commit_small(self, jobs: Sequence[NewJob], ordering: Ordering) -> CommitResult | None:
        """Store a few small jobs by one command, for callers wait. Return ``None`` where the server finds that too long."""
        told = list(chain.from_iterable([encode_job(job, job.payload) for job in jobs]))
        reply = self._connection.call(self._run_commit, "commit", ordering, jobs, told)
        if not reply:
            return None
        accepted, duplicates, epoch, _, *rejected = reply
        if accepted == len(jobs):
            self._recent.keep(jobs)
        refused, since = tuple(map(decode_text, rejected)), decode_text(epoch)
        if accepted == _SEALED:
            return CommitResult(0, duplicates, epoch=since, stale=refused)
        advice = self._find_advice(jobs, refused) if refused else ""
        return CommitResult(accepted, duplicates, refused, (), since, advice=advice)

    def _find_advice(self, jobs: Sequence[NewJob], rejected: Sequence[str]) -> str:
        """Return what an operator does about the *rejected* ones of *jobs*, where the bytes that can be moved are used up."""
        movable = self._movable.known or float("inf")
        if not rejected or self._bounds[1] <= movable:
            return ""
        held = self._connection.execute("HGET", self._prefix + "m", "bytes") or b"0"
        refused = set(rejected)
        least = min(len(job.payload) for job in jobs if job.id in refused)
        if not held.isdigit() or int(held) + least <= movable:
            return ""
        room = "in more partitions (`eventspool queue resize`)"
        if self._ordering is Ordering.FIFO:
            room = "where it keeps no strict order, which allows more partitions"
        return (
            f"its cluster moves no partition of more than {format_size(movable)} to another node: there is room only {room}, "
            "or once some of it is delivered"
        )

    def _find_stored(self, jobs: Sequence[NewJob]) -> set[str]:
        """Return the ids of those of *jobs* that the queue holds, unfinished or failed."""
        gone = (PURGED.reason, MOVED.reason)
        found = self.lookup([job.id for job in jobs]).items()
        return {job_id for job_id, failure in found if failure is None or failure.reason not in gone}

    def _commit_chunk(self, jobs: list[NewJob], ordering: Ordering) -> Any:
        """Return the script's reply; an empty one where a job is longer than the server takes, or than the queue may be."""
        try:
            return self._connection.call(self._transact, jobs, ordering)
        except QueueError:
            # A server closes the connection over a command that is too long. Ask before the next commit what it takes.
            self._longest = None
            raise

    def _transact(self, client: Any, jobs: list[NewJob], ordering: Ordering) -> Any:
        """Store *jobs*, which are all failed or all unfinished, in one transaction; reply as ``_commit_chunk``."""
        if (
            self._longest is None
            or self._longest < max(len(job.payload) for job in jobs) <= self._find_most()
        ):
            self._longest = ask_longest(client)  # An operator may have raised it meanwhile.
        if self._is_too_long(jobs):
            return []
        name = "commit" if jobs[0].failure is None else "commit_failed"
        told = list(chain.from_iterable(map(encode_job, jobs)))
        # Where the server does not know the script, it stores the payloads without an index. Sending all of it again completes
        # that. Should this process die in between, ``repair`` does.
        payloads = [("HSETNX", self._payloads, job.id, job.payload) for job in jobs]
        return self._run_commit(client, name, ordering, jobs, told, payloads)

    def _run_commit(
        self,
        client: Any,
        name: str,
        ordering: Ordering,
        jobs: Sequence[NewJob],
        told: Sequence[Any],
        before: Sequence[Sequence[Any]] = (),
    ) -> Any:
        """Have the script *name* store *jobs*, of which it is *told*. Return its reply; an empty one: that is too long."""
        history, replication = self._history, self._replication
        behind = () if replication is None else replication.command(client)
        self._movable.find(client)
        terms = self._find_terms(ordering)
        while True:
            try:
                reply = self._connection.run_on(client, name, (terms, history.told, *told), before, behind)
            except Exception as error:
                if error_code(error) != TOO_BIG:
                    raise
                return []
            answer = None
            if replication is not None:
                reply, answer = reply
            if reply[0] != _REWOUND:
                break
            self._note_rewound(int(reply[1]))  # nothing was stored
        ids = [job.id for job in jobs]
        if len(reply) > _REJECTED_FROM:
            refused = set(map(decode_text, reply[_REJECTED_FROM:]))
            ids = [job_id for job_id in ids if job_id not in refused]
        history.note(reply[3], ids)
        if replication is not None:
            history.note_unconfirmed(ids)
            replication.require(answer, client)
            history.confirm(ids)
        return reply

    def _find_terms(self, ordering: Ordering) -> Packed:
        """Return what is the same in each commit, written once: each word costs a durable call a part of a microsecond."""
        known, terms = self._terms
        most = self._find_most()
        told = (ordering, most, self._history.token)
        if known != told:
            terms = Packed(ordering, self._bounds[0], most, self._history.token)
            self._terms = told, terms
        return terms

    def _find_most(self) -> int:
        """Return most bytes of payload that are stored here, as far as that is known: what the cluster can move."""
        return int(min(self._bounds[1], self._movable.known or self._bounds[1]))

    def _is_too_long(self, jobs: Sequence[NewJob]) -> bool:
        return max(len(job.payload) for job in jobs) > self._find_longest()

    def _find_longest(self) -> float:
        """Return the most bytes that one job may have, as far as that is known."""
        return min(self._find_most(), self._longest or float("inf"))
