"""The queue in a SQLite file: durable without a server, shared by the processes of one machine."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, TypeVar

from eventspool._backends.bell import Bell
from eventspool._backends.condition import FULL, Condition
from eventspool._backends.rules import ORDER_RULES
from eventspool._backends.sqlite import fleet, listing, queues, rows, space
from eventspool._backends.sqlite.errors import outage
from eventspool._backends.sqlite.file import SQLiteFile
from eventspool._backends.sqlite.journals import Journals
from eventspool._backends.sqlite.leases import Leases
from eventspool._backends.sqlite.values import as_id
from eventspool._backends.undivided import Undivided
from eventspool._job import CommitResult, Failure, Job, JobState, SettlementKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eventspool._backends.sqlite.queues import Queue
    from eventspool._claim import Claim, ClaimTerms
    from eventspool._config import Ordering, SQLiteOpts
    from eventspool._figures import Depth, QueueStats
    from eventspool._fleet import Hold, Trouble
    from eventspool._job import NewJob, Rewrite, Settlement

__all__ = ["SQLiteBackend"]

T = TypeVar("T")


class SQLiteBackend(Journals, Undivided):
    """
    Keeps the jobs of one queue in a SQLite file (see ``Backend`` for what each method promises).

    Args:
        opts: Where the file is, and how durable.
        queue_name: Name of the queue; with *prefix* it tells apart the queues of one file.
        prefix: Put before the name.
        ordering: Whether jobs are handed out in order, to one processor at a time.
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
        ordering: Ordering,
        max_jobs: int,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = f"{prefix}:{queue_name}"
        self._rules = ORDER_RULES[ordering]
        self._leases = Leases(self._rules)
        self._max_jobs = max_jobs
        self._max_bytes = max_bytes
        self._clock = clock
        self._file = SQLiteFile(opts.path, opts.synchronous)
        self._bell = Bell(self._file.lock.mark)

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

    def _run(
        self, step: Callable[[sqlite3.Connection, Queue], T], *, durable: bool = False, growing: bool = False
    ) -> T:
        # The clock is read once the lock is held: time spent waiting for it must not count.
        return self._file.run(
            lambda db: step(db, queues.read_queue(db, self._name, self._clock())),
            durable=durable,
            growing=growing,
        )

    def _run_and_ring(self, step: Callable[[sqlite3.Connection, Queue], T], *, durable: bool = False) -> T:
        """Run a step that may give processors something to claim, and wake them, in this process and in others."""

        def run(db: sqlite3.Connection, queue: Queue) -> T:
            self._file.lock.ring()
            return step(db, queue)

        result = self._run(run, durable=durable)
        self._bell.ring()
        return result

    # What producers and processors do.

    def find_routing(self) -> None:
        """Return ``None``: no queue in a file keeps the order per user."""

    def commit(self, jobs: Sequence[NewJob]) -> CommitResult:
        """Store *jobs*, in order, due at once."""

        def step(db: sqlite3.Connection, queue: Queue) -> CommitResult:
            accepted = duplicates = size = events = given_up = 0
            rejected: list[str] = []
            impossible: list[str] = []
            for job in jobs:
                if rows.find_stored(db, queue, job.id):
                    duplicates += 1
                elif len(job.payload) > self._max_bytes or as_id(job.id) is None:
                    impossible.append(job.id)
                elif (
                    queue.jobs + accepted >= self._max_jobs
                    or queue.bytes + size + len(job.payload) > self._max_bytes
                    or (rejected and self._rules.rejects_followers)
                ):
                    rejected.append(job.id)
                else:
                    rows.insert(db, queue, job)
                    accepted += 1
                    size += len(job.payload)
                    events += job.events
                    given_up += job.events if job.failure else 0
            if accepted:
                queues.keep_time(db, queue)
                queues.tally(db, queue, accepted=events, given_up_before=given_up)
                self._file.lock.ring()
            return CommitResult(accepted, duplicates, tuple(rejected), tuple(impossible), queue.epoch)

        result = self._run(step, durable=True, growing=True)
        if result.accepted:
            self._bell.ring()
        return result

    def claim(self, token: str, terms: ClaimTerms) -> Claim:
        """Lease due jobs to *token*."""

        def step(db: sqlite3.Connection, queue: Queue) -> Claim:
            claim = self._leases.claim(db, queue, token, terms)
            if len(claim.jobs) < terms.limit and claim.wait != 0.0:
                self._bell.heard()  # within the step: a ring that comes after it is not missed
            return claim

        return self._run(step)

    def hold(self, token: str, trouble: Trouble | None, *, is_probe: bool) -> Hold | None:
        """Tell all processors of *trouble* with the data plane, or that it works."""

        def step(db: sqlite3.Connection, queue: Queue) -> tuple[Hold | None, bool]:
            hold, was_held = fleet.hear(db, queue, token, trouble, is_probe=is_probe)
            if was_held and hold is None:
                self._file.lock.ring()
            return hold, was_held

        hold, was_held = self._run(step)
        if was_held and hold is None:
            self._bell.ring()
        return hold

    def ack(self, ids: Sequence[str]) -> int:
        """Forget delivered jobs, whatever token holds them."""

        def step(db: sqlite3.Connection, queue: Queue) -> int:
            stored = sum(rows.delete_stored(db, queue, job_id) for job_id in ids)
            if stored:
                queues.tally(db, queue)
            return stored

        return self._run(step)

    def pass_on(self, ids: Sequence[str], *, remember: bool = True) -> int:
        """Forget jobs that another queue has taken."""

        def step(db: sqlite3.Connection, queue: Queue) -> int:
            moved = [job_id for job_id in ids if rows.delete_stored(db, queue, job_id)]
            if moved:
                queues.tally_gone(db, queue, "moved")
                if remember:
                    queues.remember(db, queue, dict.fromkeys(moved, queues.MOVED_ON))
            return len(moved)

        return self._run(step, durable=True)

    def settle(self, token: str, settlements: Sequence[Settlement]) -> list[bool]:
        """End leases otherwise."""
        failing = any(settlement.kind is SettlementKind.FAIL for settlement in settlements)

        def step(db: sqlite3.Connection, queue: Queue) -> list[bool]:
            queues.keep_time(db, queue)
            settled = [self._leases.settle(db, queue, token, settlement) for settlement in settlements]
            if failing:
                queues.tally(db, queue)
            return settled

        return self._run_and_ring(step, durable=failing)

    def renew(self, token: str, ids: Sequence[str], *, visibility_timeout: float, note: str = "") -> set[str]:
        """Extend leases."""

        def step(db: sqlite3.Connection, queue: Queue) -> set[str]:
            queues.note_processor(db, queue, token, note)
            return self._leases.renew(db, queue, token, ids, visibility_timeout)

        return self._run(step)

    def leave(self, token: str) -> None:
        """Give back every lease of *token*."""
        self._run_and_ring(lambda db, queue: self._leases.leave(db, queue, token))

    def wait(self, timeout: float) -> bool:
        """Block until there may be something to claim."""
        return self._bell.wait(timeout)

    def interrupt(self) -> None:
        """End a ``wait`` that is under way."""
        self._bell.interrupt()

    def lookup(self, ids: Sequence[str], *, epoch: str = "") -> Mapping[str, Failure | None]:
        """Say which of *ids* are still stored."""
        return self._run(lambda db, queue: rows.lookup(db, queue, ids, epoch))

    # What operators ask.

    def stats(self) -> QueueStats:
        """Count, without reading payloads."""
        return self._run(lambda db, queue: listing.count(db, queue, self._clock()))

    def processors(self) -> list[tuple[str, float, str]]:
        """List the live processors."""
        return self._run(queues.list_processors)

    def reasons(self) -> Mapping[str, Depth]:
        """Count the failed jobs by reason."""
        return self._run(listing.count_reasons)

    def condition(self) -> Condition:
        """Say whether the disk has room for new jobs, and whether a job was ever stored under this name."""
        used, others, set_back = self._run(queues.list_used)
        room = space.room_on(self._file.path)
        is_full = room is not None and room[0] < space.low_water(room[1])
        return Condition(
            refuses=FULL if is_full else "",
            because=f"{outage(sqlite3.SQLITE_FULL)} ({self._file.path})" if is_full else "",
            is_used=used,
            others=() if used else others,
            clock_ahead=set_back,
        )

    def list_names(self) -> list[str]:
        """Return the names, with their prefixes, of the queues of this file in which a job was ever stored."""
        return self._run(queues.list_names)

    def pause(self, paused: bool) -> None:  # noqa: FBT001
        """Stop or resume handing out jobs."""
        self._run_and_ring(lambda db, queue: queues.pause(db, queue, paused), durable=True)

    def expedite(self, ids: Sequence[str]) -> int:
        """Make delayed jobs due at once."""

        def step(db: sqlite3.Connection, queue: Queue) -> int:
            queues.keep_time(db, queue)
            return sum(rows.expedite(db, queue, job_id) for job_id in ids)

        return self._run_and_ring(step)

    def rewrite(self, rewrites: Sequence[Rewrite]) -> list[bool]:
        """Put payloads in the place of others."""
        return self._run(lambda db, queue: rows.rewrite(db, queue, rewrites), durable=True)

    def jobs(self, state: JobState, *, limit: int, after: Job | str | None = None) -> list[Job]:
        """List jobs."""
        return self._run(lambda db, queue: listing.list_jobs(db, queue, state, limit, after))

    def scan(self, cursor: str = "") -> tuple[list[str], str]:
        """Return the ids of the next jobs in the order of their ids, which no change of state changes."""
        return self._run(lambda db, queue: listing.scan(db, queue, cursor))

    def payload(self, job_id: str) -> bytes | None:
        """Return one job's envelope."""
        return self._run(lambda db, queue: rows.payload_of(db, rows.find_stored(db, queue, job_id)))

    def payloads(self, ids: Sequence[str]) -> Mapping[str, bytes | None]:
        """Return the envelopes of the first of *ids*."""
        return self._run(lambda db, queue: rows.payloads_of(db, queue, ids))

    def replay(self, ids: Sequence[str]) -> int:
        """Move failed jobs back to waiting, behind all others."""

        def step(db: sqlite3.Connection, queue: Queue) -> int:
            queues.keep_time(db, queue)
            return sum(rows.revive(db, queue, job_id) for job_id in ids)

        return self._run_and_ring(step, durable=True)

    def purge(self, state: JobState, ids: Sequence[str]) -> int:
        """Delete those of *ids* that are in *state*."""

        def step(db: sqlite3.Connection, queue: Queue) -> int:
            doomed = [i for i in ids if state is not JobState.LEASED and rows.state_of(db, queue, i) is state]
            with rows.erasing(db):
                purged = [job_id for job_id in doomed if rows.delete_stored(db, queue, job_id)]
            if purged:
                queues.tally_gone(db, queue, "purged")
                queues.remember(db, queue, dict.fromkeys(purged, queues.PURGED_WHOLE))
            return len(purged)

        return self._run(step, durable=True)

    def repair(self) -> int:
        """
        Make jobs due whose time is no number.

        Payloads without an index do not occur here: both are written in one transaction.
        """
        return self._run(rows.mend_times)
