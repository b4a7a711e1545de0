"""
The degrade ladder's middle rung: a local SQLite queue that takes batches while the queue in Redis is not available.

Memory, then the file, then refusal. A batch keeps its id on all of its ways, so callbacks, flushes and look-ups go
on working, and a commit that is repeated after a crash adds no second job.

Order: as long as the file holds anything, new batches go behind it. One thread, the *mover*, takes jobs out, oldest
first: it leases them, commits them to Redis, and only then has the file forget them. The lease is that of a
first-in-first-out queue, as a whole and by one token, so of several processes that share the file one moves at a time.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from eventspool._envelope import count_events
from eventspool._exceptions import QueueError
from eventspool._job import Failure, NewJob, Settlement, SettlementKind, new_token
from eventspool._retry import compute_backoff
from eventspool._retry import system_random as random

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from eventspool._backends import Backend
    from eventspool._buffering.ledger import Ledger
    from eventspool._job import ClaimedJob, CommitResult

__all__ = ["Spill", "is_spill_due"]

_log = logging.getLogger("eventspool")

_SPILL_AFTER = 1.0
"""Seconds of outage that memory alone bridges."""
_JOBS_PER_MOVE = 64
_LEASE = 3.0
"""Seconds after which another process may go on where a dead one was moving."""
_POLL = 0.25
"""Longest wait, in seconds, for another process that is moving, and for room in a full queue."""
_TURN = 0.1
"""Longest, in seconds, that a commit waits for the mover to have moved something before it."""
_BACKOFF_INITIAL, _BACKOFF_MAX = 0.1, 2.0
_LOOK_INTERVAL = 60.0


def is_spill_due(outage: float, held: int, capacity: int, *, leaving: bool) -> bool:
    """
    Say whether batches that the queue does not take now go into the spill file.

    Args:
        outage: Seconds since the queue first refused.
        held: Events that only memory holds.
        capacity: Events that it may hold.
        leaving: The client is closing.
    """
    return leaving or outage >= _SPILL_AFTER or 2 * held >= capacity


class Spill:
    """
    Keeps batches in *file* until *queue* takes them.

    Args:
        file: A first-in-first-out queue in a local file, unopened.
        path: That file.
        queue: Where the jobs belong.
        ledger: Told of every job that goes in or out.
        on_moved: Called after jobs went into the queue, and when the file is empty.
        on_lookup: Called with the failure of a job that cannot be moved.
    """

    def __init__(
        self,
        file: Backend,
        path: str,
        queue: Backend,
        ledger: Ledger,
        *,
        on_moved: Callable[[], object],
        on_lookup: Callable[[list[str], Mapping[str, Failure | None]], object],
    ) -> None:
        self._file = file
        self._path = Path(path).absolute()
        self._queue = queue
        self._ledger = ledger
        self._on_moved = on_moved
        self._on_lookup = on_lookup
        self._token = new_token()
        self._lock = (
            threading.Lock()
        )  # what goes in, and whether anything does, changes by one hand at a time
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._turn = threading.Event()
        self._mover: threading.Thread | None = None
        self._look_at = 0.0
        self._looked = False
        self._moved = 0
        self.is_active = False
        """The file holds jobs, or may: new batches go behind them."""
        self.is_away = False
        """The mover could not reach the queue."""
        self.is_broken = False
        """The mover could not use the file."""

    def look(self, now: float) -> None:
        """Take up what an earlier process, or another one that died, left in the file. Looks now and then only."""
        if self.is_active or now < self._look_at:
            return
        self._look_at = now + _LOOK_INTERVAL
        try:
            if self._path.exists():
                self._take_up()
        finally:
            self._looked = True

    def _take_up(self) -> None:
        stats = self._file.stats()
        left = stats.waiting.events + stats.delayed.events + stats.leased.events
        if stats.waiting.jobs or stats.delayed.jobs or stats.leased.jobs:
            _log.info("%d events are left in the spill file: they go to the queue first", left)
            with self._lock:
                self._activate()

    @property
    def may_hold_jobs(self) -> bool:
        """The file holds jobs, or was not looked at yet."""
        return self.is_active or not self._looked

    def commit(self, jobs: Sequence[NewJob], *, begin: bool) -> CommitResult | None:
        """
        Store *jobs* behind what the file holds.

        Args:
            jobs: What the queue does not take now.
            begin: Also into an empty file. Otherwise return ``None``: the queue is to be asked.
        """
        if self.is_active and not self.is_away:  # fewer in than out, or the file would never be empty
            self._turn.wait(_TURN)
            self._turn.clear()
        with self._lock:
            if not (begin or self.is_active):
                return None
            result = self._file.commit(jobs)
            left = set(result.rejected)
            self._ledger.note_spilled((job.id for job in jobs if job.id not in left), result.epoch)
            if not self.is_active:
                _log.warning("the queue is not available: events go into the spill file until it is back")
                self._activate()
            return result

    def hasten(self) -> None:
        """Try the queue now: somebody waits."""
        self._wake.set()

    def stop(self, timeout: float) -> None:
        """End the mover, and wait at most *timeout* seconds for that."""
        self._stopping.set()
        self._wake.set()
        mover = self._mover
        if mover is not None:
            mover.join(max(timeout, 0.0))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def abandon(self) -> None:
        """In a forked child: forget what belongs to the parent."""
        self._file.abandon()

    # -- the mover -----------------------------------------------------------------------------------------------------

    def _activate(self) -> None:
        self.is_active, self.is_away, self.is_broken, self._moved = True, True, False, 0
        if self._stopping.is_set():
            return
        with contextlib.suppress(RuntimeError):  # the interpreter is going down: the next process moves them
            mover = threading.Thread(target=self._run, name="eventspool-spill", daemon=True)
            mover.start()
            self._mover = mover

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                pause = self._move()
                if pause is None:
                    self._turn.set()
                    return
                failures, self.is_broken = 0, False
            except QueueError:  # the processor and the flusher meet the same, and report it
                failures += 1
                pause = compute_backoff(failures, _BACKOFF_INITIAL, _BACKOFF_MAX, random.random())
                self._give_back()
            except Exception as error:  # noqa: BLE001 - a bug must not keep events here for ever
                pause = 1.0
                _log.error("moving events out of the spill file met %s and goes on", type(error).__name__)
                self._give_back()
            if pause:
                self._turn.set()
                self._wake.wait(pause)
        self._give_back()

    def _move(self) -> float | None:
        """Move some jobs. Return how long to wait before the next, ``None`` when the file is empty."""
        if self.is_away:
            with self._on_queue():
                self._queue.open()
        with self._on_file():
            claim = self._file.claim(self._token, limit=_JOBS_PER_MOVE, visibility_timeout=_LEASE)
        if not claim.jobs:
            return None if self._end_if_empty() else min(_POLL, claim.wait or _POLL)
        jobs = self._readable(claim.jobs)
        with self._on_queue():
            result = self._queue.commit(jobs)
        left = set(result.rejected)
        done = [job.id for job in jobs if job.id not in left]
        self._moved += sum(job.events for job in jobs if job.id not in left)
        with self._lock:  # `commit` has told the ledger that they are here before it hears that they are not
            self._ledger.note_moved(done, result.epoch)
        with self._on_file():
            self._file.ack(done)
        self._on_moved()
        if left:
            self._give_back()
            return _POLL
        if len(claim.jobs) == _JOBS_PER_MOVE:  # otherwise the next claim should find nothing, and this end
            self._turn.set()
        return 0.0

    def _readable(self, claimed: Sequence[ClaimedJob]) -> list[NewJob]:
        """Return the claimed jobs to commit. One without a payload goes to the file's failed queue."""
        jobs = []
        for job in claimed:
            if job.payload is not None:
                jobs.append(NewJob(job.id, job.payload, count_events(job.payload)))
                continue
            failure = Failure("missing", "the batch's payload is not in the spill file any more", 0)
            with self._on_file():
                self._file.settle(self._token, [Settlement(job.id, SettlementKind.FAIL, failure=failure)])
            self._on_lookup([job.id], {job.id: failure})
        return jobs

    def _end_if_empty(self) -> bool:
        with self._lock, self._on_file():
            stats = self._file.stats()
            if stats.waiting.jobs or stats.delayed.jobs or stats.leased.jobs:
                return False
            self._file.leave(self._token)
            for epoch, ids in self._ledger.by_epoch(self._ledger.spilled_jobs).items():
                lost = self._file.lookup(ids, epoch=epoch)  # somebody has deleted the file
                self._on_lookup(list(lost), lost)
            self._ledger.note_moved()  # also what another process has moved
            self.is_active = False
        _log.info("the queue is available again: %d events went from the spill file into it", self._moved)
        self._on_moved()
        return True

    def _give_back(self) -> None:
        with contextlib.suppress(QueueError):  # then the lease runs out by itself
            self._file.leave(self._token)

    @contextlib.contextmanager
    def _on_queue(self) -> Iterator[None]:
        try:
            yield
        except QueueError:
            self.is_away = True
            raise
        self.is_away = False

    @contextlib.contextmanager
    def _on_file(self) -> Iterator[None]:
        try:
            yield
        except QueueError:
            self.is_broken = True
            raise
