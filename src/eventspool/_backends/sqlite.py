# ruff: noqa: S608 - the only text put into a statement is written in this module
"""The queue in a SQLite file: durable without a server, shared by the processes of one machine."""

from __future__ import annotations

import heapq
import time
from typing import TYPE_CHECKING, Any, TypeVar

from eventspool._backends import _sqlite_rows as rows
from eventspool._backends._bell import Bell
from eventspool._backends._sqlite_file import SQLiteFile
from eventspool._backends.memory import PAUSE_POLL, PROBE_DEPTH, PROCESSOR_TTL, QUEUE_LEASE
from eventspool._job import (
    LOST,
    PURGED,
    Claim,
    ClaimedJob,
    CommitResult,
    Depth,
    Failure,
    Job,
    JobState,
    QueueStats,
    SettlementKind,
    created_at_from_id,
    new_job_id,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from eventspool._backends._sqlite_rows import Queue
    from eventspool._config import SQLiteOpts
    from eventspool._job import NewJob, Settlement

__all__ = ["SQLiteBackend"]

T = TypeVar("T")

_SIGHTING = rows.micros(1.0)
"""A processor's life is noted at most this often, so that an idle one does not write all the time."""


class SQLiteBackend:
    """
    Keeps the jobs of one queue in a SQLite file (see ``Backend`` for what each method promises).

    Args:
        opts: Where the file is, and how durable.
        queue_name: Name of the queue; with *prefix* it tells apart the queues of one file.
        prefix: Put before the name.
        fifo: Hand jobs out strictly in order, to one processor at a time.
        max_jobs: Most jobs held, failed ones included.
        max_bytes: Most payload bytes held, failed ones included.
        clock: Returns seconds since the epoch.
    """

    durable = True
    shared = True

    def __init__(
        self,
        opts: SQLiteOpts,
        *,
        queue_name: str,
        prefix: str,
        fifo: bool,
        max_jobs: int,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = f"{prefix}:{queue_name}"
        self._fifo = fifo
        # In strict order, a job keeps its place: but for one that a processor of the other mode has moved.
        self._moves = "" if fifo else ", due = :until"
        self._returns = ", due = min(due, :now)" if fifo else ", due = :until"
        self._max_jobs = max_jobs
        self._max_bytes = max_bytes
        self._clock = clock
        self._file = SQLiteFile(opts.path, opts.synchronous)
        self._bell = Bell(self._file.lock.mark)
        self._sighted: dict[str, int] = {}

    def open(self) -> None:
        """Open the file, or make it."""
        self._run(lambda _db, _queue: None)

    def close(self) -> None:
        """Close the file and end waits."""
        self._bell.interrupt()
        self._file.close()

    def abandon(self) -> None:
        """In a forked child: drop what the parent owns; the next call opens the file afresh."""
        self._file.abandon()
        self._bell = Bell(self._file.lock.mark)
        self._sighted = {}

    def commit(self, jobs: Sequence[NewJob]) -> CommitResult:
        """Store *jobs*, in order, due at once."""

        def step(db: sqlite3.Connection, queue: Queue) -> CommitResult:
            accepted = duplicates = size = events = 0
            rejected: list[str] = []
            for job in jobs:
                if rows.find(db, queue, "jobs", job.id) or rows.find(db, queue, "failed", job.id):
                    duplicates += 1
                elif (
                    queue.jobs + accepted >= self._max_jobs
                    or queue.bytes + size + len(job.payload) > self._max_bytes
                    or (self._fifo and rejected)
                ):
                    rejected.append(job.id)
                else:
                    rows.insert(db, queue, job.id, job.payload, job.events)
                    accepted += 1
                    size += len(job.payload)
                    events += job.events
            if accepted:
                rows.keep_time(db, queue)
                rows.tally(db, queue, accepted=events)
                self._file.lock.ring()
            return CommitResult(accepted, duplicates, tuple(rejected), queue.epoch)

        result = self._run(step, durable=True, growing=True)
        if result.accepted:
            self._bell.ring()
        return result

    def claim(self, token: str, *, limit: int, visibility_timeout: float, probe: bool = False) -> Claim:
        """Lease up to *limit* due jobs to *token*."""

        def step(db: sqlite3.Connection, queue: Queue) -> Claim:
            self._sight(db, queue, token)
            if queue.paused:
                self._bell.heard()
                return Claim(wait=PAUSE_POLL)
            held_until = self._take_queue(db, queue, token, visibility_timeout) if self._fifo else None
            if held_until is not None:
                self._bell.heard()
                return Claim(wait=max(held_until - queue.now, 0) / 1e6)
            # A processor that keeps the order leases and delays without moving a job's place.
            due = "" if self._fifo else "and due <= :now and (typeof(until) != 'integer' or until <= :now)"
            due_rows = db.execute(
                f"select seq, id, attempts, token, stalled, progress, until from jobs where queue = :key {due}"
                " order by due, seq limit :limit",
                {"key": queue.key, "now": queue.now, "limit": PROBE_DEPTH if probe else limit},
            ).fetchall()
            if probe:
                due_rows = heapq.nsmallest(
                    limit, due_rows, key=lambda row: rows.as_count(row[2]) + bool(row[3])
                )
            elif self._fifo:  # nothing passes a job that waits for its retry
                ends = (row[6] if isinstance(row[6], int) else 0 for row in due_rows)
                held = next((place for place, end in enumerate(ends) if end > queue.now), None)
                if held == 0:
                    self._bell.heard()
                    return Claim(wait=(due_rows[0][6] - queue.now) / 1e6)
                due_rows = due_rows[:held]
            leased: tuple[ClaimedJob, ...] = ()
            if due_rows:
                until = queue.now + rows.micros(visibility_timeout)
                rows.keep_time(db, queue)
                leased = tuple(self._lease(db, row, token, until) for row in due_rows)
                if len(leased) == limit:
                    return Claim(leased)
            self._bell.heard()
            [first] = db.execute(
                "select min(next) from (select min(due) as next from jobs where queue = :key and due > :now"
                " union all select min(until) from jobs where queue = :key and until > :now)",
                {"key": queue.key, "now": queue.now},
            ).fetchone()
            return Claim(leased, (first - queue.now) / 1e6 if isinstance(first, int) else None)

        return self._run(step)

    def _take_queue(
        self, db: sqlite3.Connection, queue: Queue, token: str, visibility_timeout: float
    ) -> int | None:
        """Lease the queue to *token*. Return the time until which nothing may be handed out, or None."""
        if queue.holder not in ("", token) and queue.held_until > queue.now:
            return queue.held_until
        if queue.holder != token:
            db.execute(
                "update jobs set attempts = attempts + 1, stalled = 1, token = '', until = null, due = min(due, :now)"
                " where queue = :key and until is not null and token != ''",
                {"key": queue.key, "now": queue.now},
            )
        rows.hold(db, queue, token, min(visibility_timeout, QUEUE_LEASE))
        # What comes next must not overtake those under way.
        [end] = db.execute(
            "select min(until) from jobs where queue = ? and until > ? and token != ''",
            (queue.key, queue.now),
        ).fetchone()
        return end if isinstance(end, int) else None

    def _lease(self, db: sqlite3.Connection, row: tuple[Any, ...], token: str, until: int) -> ClaimedJob:
        seq, job_id, attempts, holder, stalled, progress, _ = row
        if not isinstance(job_id, str):  # a foreign hand: such a job could not be named, so not be settled
            job_id = new_job_id()
            db.execute("update jobs set id = ? where seq = ?", (job_id, seq))
        attempts = rows.as_count(attempts) + bool(holder)  # a lease that ran out counts
        db.execute(
            f"update jobs set token = :token, until = :until, attempts = :attempts, stalled = 0 {self._moves}"
            " where seq = :seq",
            {"token": token, "until": until, "attempts": attempts, "seq": seq},
        )
        payload = rows.payload_of(db, seq)
        return ClaimedJob(
            job_id,
            payload,
            attempts,
            str(progress),
            created_at_from_id(job_id),
            bool(holder) or bool(stalled),
        )

    def ack(self, ids: Sequence[str]) -> int:
        """Forget delivered jobs, whoever holds them."""

        def step(db: sqlite3.Connection, queue: Queue) -> int:
            deleted = (rows.delete(db, queue, "jobs", i) or rows.delete(db, queue, "failed", i) for i in ids)
            stored = sum(deleted)
            if stored:
                rows.tally(db, queue)
            return stored

        return self._run(step)

    def settle(self, token: str, settlements: Sequence[Settlement]) -> list[bool]:
        """End leases otherwise."""

        def step(db: sqlite3.Connection, queue: Queue) -> list[bool]:
            rows.keep_time(db, queue)
            self._file.lock.ring()
            settled = [self._settle(db, queue, token, settlement) for settlement in settlements]
            if failing:
                rows.tally(db, queue)
            return settled

        failing = any(settlement.kind is SettlementKind.FAIL for settlement in settlements)
        settled = self._run(step, durable=failing)
        self._bell.ring()
        return settled

    def _settle(self, db: sqlite3.Connection, queue: Queue, token: str, settlement: Settlement) -> bool:
        row = db.execute(
            "select seq, attempts, events from jobs where queue = ? and id = ? and token = ?",
            (queue.key, settlement.job_id, token),
        ).fetchone()
        if row is None:
            return False
        seq, attempts, events = row
        attempts = rows.as_count(attempts) + (settlement.kind is not SettlementKind.RELEASE)
        if settlement.kind is SettlementKind.FAIL:
            failure = settlement.failure or Failure("unknown", "", rows.as_count(events))
            rows.bury(db, queue, seq, attempts, failure)
            return True
        db.execute(
            f"update jobs set token = '', until = :until, attempts = :attempts, progress = :progress"
            f" {self._returns} where seq = :seq",
            {
                "now": queue.now,
                "until": queue.now + rows.micros(settlement.delay),
                "attempts": attempts,
                "progress": rows.as_text(settlement.progress),
                "seq": seq,
            },
        )
        return True

    def renew(self, token: str, ids: Sequence[str], *, visibility_timeout: float, note: str = "") -> set[str]:
        """Extend leases."""

        def step(db: sqlite3.Connection, queue: Queue) -> set[str]:
            self._sight(db, queue, token)
            if note:
                text = rows.as_text(note)
                db.execute(
                    "insert or replace into notes (queue, token, note) values (?, ?, ?)",
                    (queue.key, token, text),
                )
            if self._fifo and queue.holder == token:
                rows.hold(db, queue, token, min(visibility_timeout, QUEUE_LEASE))
            until = queue.now + rows.micros(visibility_timeout)
            renewal = f"update jobs set until = :until {self._moves} where queue = :key and id = :id and token = :token"
            return {
                i
                for i in ids
                if not db.execute(
                    renewal, {"until": until, "key": queue.key, "id": i, "token": token}
                ).rowcount
            }

        return self._run(step)

    def leave(self, token: str) -> None:
        """Give back every lease of *token*."""

        def step(db: sqlite3.Connection, queue: Queue) -> None:
            parameters = {"now": queue.now, "key": queue.key, "token": token}
            db.execute(
                "update jobs set token = '', until = null, due = min(due, :now)"
                " where queue = :key and until is not null and token = :token",
                parameters,
            )
            db.execute("update queues set holder = '' where queue = :key and holder = :token", parameters)
            db.execute("delete from processors where queue = :key and token = :token", parameters)
            db.execute("delete from notes where queue = :key and token = :token", parameters)
            self._sighted.pop(token, None)
            self._file.lock.ring()

        self._run(step)
        self._bell.ring()

    def wait(self, timeout: float) -> bool:
        """Block until there may be something to claim."""
        return self._bell.wait(timeout)

    def interrupt(self) -> None:
        """End a ``wait`` that is under way."""
        self._bell.interrupt()

    def lookup(self, ids: Sequence[str], *, epoch: str = "") -> Mapping[str, Failure | None]:
        """Say which of *ids* are still stored."""

        def step(db: sqlite3.Connection, queue: Queue) -> dict[str, Failure | None]:
            stored: dict[str, Failure | None] = {}
            for job_id in ids:
                failure = rows.failure_of(db, queue, job_id)
                if failure is not None or rows.find(db, queue, "jobs", job_id) is not None:
                    stored[job_id] = failure
            gone = [job_id for job_id in ids if job_id not in stored]
            lost = gone if epoch not in ("", queue.epoch) else []
            purged = rows.find_purged(db, queue, gone)
            return {**dict.fromkeys(lost, LOST), **dict.fromkeys(purged, PURGED), **stored}

        return self._run(step)

    def stats(self) -> QueueStats:
        """Count, without reading payloads."""
        since = rows.micros(PROCESSOR_TTL)
        return self._run(lambda db, queue: rows.count(db, queue, self._clock(), queue.now - since))

    def processors(self) -> list[tuple[str, float, str]]:
        """List the live processors."""
        since = rows.micros(PROCESSOR_TTL)
        return self._run(lambda db, queue: rows.sightings(db, queue, queue.now - since))

    def reasons(self) -> Mapping[str, Depth]:
        """Count the failed jobs by reason."""
        return self._run(rows.reasons)

    def pause(self, paused: bool) -> None:  # noqa: FBT001
        """Stop or resume handing out jobs."""

        def step(db: sqlite3.Connection, queue: Queue) -> None:
            db.execute("update queues set paused = ? where queue = ?", (int(paused), queue.key))
            self._file.lock.ring()

        self._run(step, durable=True)
        self._bell.ring()

    def expedite(self, ids: Sequence[str]) -> int:
        """Make delayed jobs due at once."""
        statement = (
            "update jobs set until = null, due = min(due, :now)"
            " where queue = :key and id = :id and token = '' and until > :now"
        )

        def step(db: sqlite3.Connection, queue: Queue) -> int:
            rows.keep_time(db, queue)
            self._file.lock.ring()
            return sum(
                db.execute(statement, {"key": queue.key, "id": i, "now": queue.now}).rowcount for i in ids
            )

        moved = self._run(step)
        self._bell.ring()
        return moved

    def rewrite(self, job_id: str, expected: bytes, payload: bytes, events: int) -> bool:
        """Put *payload* in the place of *expected*."""
        return self._run(
            lambda db, queue: rows.rewrite(db, queue, job_id, expected, payload, events), durable=True
        )

    def jobs(self, state: JobState, *, limit: int, after: str | None = None) -> list[Job]:
        """List jobs."""
        return self._run(lambda db, queue: rows.listing(db, queue, state, limit, after))

    def payload(self, job_id: str) -> bytes | None:
        """Return one job's envelope."""

        def step(db: sqlite3.Connection, queue: Queue) -> bytes | None:
            seq = rows.find(db, queue, "jobs", job_id) or rows.find(db, queue, "failed", job_id)
            return rows.payload_of(db, seq)

        return self._run(step)

    def replay(self, ids: Sequence[str]) -> int:
        """Move failed jobs back to waiting, behind all others."""

        def step(db: sqlite3.Connection, queue: Queue) -> int:
            rows.keep_time(db, queue)
            self._file.lock.ring()
            return sum(rows.revive(db, queue, job_id) for job_id in ids)

        moved = self._run(step, durable=True)
        self._bell.ring()
        return moved

    def purge(self, state: JobState, ids: Sequence[str]) -> int:
        """Delete those of *ids* that are in *state*."""
        table = "failed" if state is JobState.FAILED else "jobs"

        def step(db: sqlite3.Connection, queue: Queue) -> int:
            doomed = [i for i in ids if state is not JobState.LEASED and rows.state_of(db, queue, i) is state]
            with rows.erasing(db):
                purged = [job_id for job_id in doomed if rows.delete(db, queue, table, job_id)]
            if purged:
                rows.tally_purged(db, queue)
                rows.note_purged(db, queue, purged)
            return len(purged)

        return self._run(step, durable=True)

    def repair(self) -> int:
        """
        Make jobs due whose time is no number.

        Payloads without an index do not occur here: both are written in one transaction.
        """

        def step(db: sqlite3.Connection, queue: Queue) -> int:
            # Text sorts behind all numbers, so both halves of this are found by the index.
            repaired = 0
            for rubbish in ("due is null", "due >= ''"):
                repaired += db.execute(
                    f"update jobs set due = ?, until = null, token = '' where queue = ? and {rubbish}",
                    (queue.now, queue.key),
                ).rowcount
            return repaired

        return self._run(step)

    def _run(
        self, step: Callable[[sqlite3.Connection, Queue], T], *, durable: bool = False, growing: bool = False
    ) -> T:
        # The clock is read once the lock is held: time spent waiting for it must not count.
        return self._file.run(
            lambda db: step(db, rows.read_queue(db, self._name, self._clock())),
            durable=durable,
            growing=growing,
        )

    def _sight(self, db: sqlite3.Connection, queue: Queue, token: str) -> None:
        """Count *token* among the live processors."""
        if abs(queue.now - self._sighted.get(token, 0)) < _SIGHTING:
            return
        db.execute(
            "delete from processors where queue = ? and seen < ?",
            (queue.key, queue.now - rows.micros(PROCESSOR_TTL)),
        )
        db.execute(
            "delete from notes where queue = :key and token not in (select token from processors where queue = :key)",
            {"key": queue.key},
        )
        db.execute("insert or replace into processors values (?, ?, ?)", (queue.key, token, queue.now))
        self._sighted = {
            t: at for t, at in self._sighted.items() if at > queue.now - rows.micros(PROCESSOR_TTL)
        }
        self._sighted[token] = queue.now
