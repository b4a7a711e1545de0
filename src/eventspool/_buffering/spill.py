"""
The spill file: a local SQLite queue that takes batches while the queue in Redis is not available.

In an outage, batches wait in memory first, then in the file; only when that is full events are refused. A batch keeps its id
wherever it goes, so callbacks, flushes and look-ups go on working, and a commit that is repeated after a crash adds no
second job. Where the queue has it cut by users, the ledger is told which jobs took its place.

Order is kept: as long as the file holds any job, new batches go behind it. The *mover*, which its own loop repeats, takes jobs
out, oldest first: it leases them, commits them to Redis, and only then has the file forget them. The file is a
first-in-first-out queue, leased as a whole, so of several processes that share it one moves at a time.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from eventspool._backends.mover import Mover
from eventspool._exceptions import QueueError
from eventspool._guest.log import Log
from eventspool._guest.loop import Loop
from eventspool._guest.thread import NoThread
from eventspool._job import PURGED
from eventspool._retry import compute_backoff
from eventspool._retry import system_random as random

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from eventspool._backends import Backend
    from eventspool._backends.parting import Placed
    from eventspool._job import CommitResult, Failure, NewJob
    from eventspool._settling.ledger import Ledger

__all__ = ["Spill", "is_spill_due"]

_log = Log("eventspool")

_SPILL_AFTER = 1.0
"""Seconds of outage that memory alone bridges."""
_JOBS_PER_MOVE = 64
_LEASE = 3.0
"""Seconds after which another process may go on where a dead one was moving."""
_POLL = 0.25
"""Longest wait, in seconds, for another process that moves jobs, and for room in a full queue."""
_TURN = 0.1
"""Longest, in seconds, that a commit waits for the mover to move something first."""
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
        fail_rest: Makes that failure (see ``Mover``).
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
        fail_rest: Callable[[str, str, bytes | None, str], Failure],
    ) -> None:
        self._file = file
        self._path = Path(path).absolute()
        self._queue = queue
        self._ledger = ledger
        self._on_moved = on_moved
        self._on_lookup = on_lookup
        self._jobs = Mover(
            file,
            queue,
            limit=_JOBS_PER_MOVE,
            lease=_LEASE,
            fail_rest=fail_rest,
            remember=False,  # a process that looks for a job asks the queue
            on_stored=self._note_moved,
            at_source=self._on_file,
            at_target=self._on_queue,
        )
        self._lock = (
            threading.Lock()
        )  # one thread at a time puts jobs in, or changes whether the file is in use
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._passing = threading.Event()  # the mover lets a commit in
        self._mover: Loop | None = None
        self._failures = 0
        self._move_at = 0.0
        self._look_at = 0.0
        self._looked = False
        self._moved = 0
        self.is_active = False
        """The file holds jobs, or may hold some: new batches go behind them."""
        self.is_away = False
        """The mover could not reach the queue."""
        self.is_broken = False
        """The mover could not use the file."""

    def look(self, now: float) -> None:
        """Have the jobs moved that an earlier process, or one that died, left in the file. Looks once a minute at most."""
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
        # The mover takes a batch of jobs out before each commit, which is smaller: so the file shrinks even under full load.
        if self.is_active and not self.is_away:
            self._passing.wait(_TURN)
            self._passing.clear()
        with self._lock:
            if not (begin or self.is_active):
                return None
            if not self.is_active:
                # Should an exception cut us off behind the commit, the next look finds the jobs.
                self._look_at = 0.0
            result = self._file.commit(jobs)
            left = {*result.rejected, *result.impossible}
            self._ledger.note_spilled((job.id for job in jobs if job.id not in left), result.epoch)
            if not self.is_active:
                _log.warning("the queue is not available: events go into the spill file until it is back")
                self._activate()
            return result

    def hasten(self) -> None:
        """Have the mover try the queue now: a caller waits."""
        self._wake.set()

    def stop(self, timeout: float) -> None:
        """End the mover, and wait at most *timeout* seconds for that."""
        self._stopping.set()
        self._wake.set()
        mover = self._mover
        if mover is not None:
            mover.join(max(timeout, 0.0))

    @property
    def is_alive(self) -> bool:
        """The mover's thread runs."""
        return self._mover is not None and self._mover.is_alive

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def abandon(self) -> None:
        """In a forked child: forget what belongs to the parent."""
        self._file.abandon()

    # -- the mover -----------------------------------------------------------------------------------------------------

    def _activate(self) -> None:
        self.is_away, self.is_broken, self._moved = True, False, 0
        self._mover = Loop("spill", self, on_failure=self._fail)
        self.is_active = True
        self.tend()

    def tend(self) -> None:
        """Have the mover's loop run where the file holds something; again, should its thread have ended."""
        mover = self._mover
        if mover is not None and self.is_active and not self._stopping.is_set():
            with contextlib.suppress(NoThread):  # tried again later, or else by the next process
                mover.start()

    def patience(self, now: float) -> float:
        """Return how many seconds the mover has nothing to do."""
        return max(self._move_at - now, 0.0)

    def wait(self, patience: float | None) -> bool:
        """Wait until a thread wants the queue to be tried now."""
        return self._wake.wait(patience)

    def turn(self, now: float) -> bool:  # noqa: ARG002 - as every loop is told
        """Move some jobs. Return whether the file may hold more."""
        self._wake.clear()
        try:
            pause = None if self._stopping.is_set() else self._move()
            self._failures, self.is_broken = 0, False
        except QueueError:  # the processor and the flusher meet the same outage, and report it
            self._failures += 1
            pause = compute_backoff(self._failures, _BACKOFF_INITIAL, _BACKOFF_MAX, random.random())
            self._give_back()
        if pause is None:
            self._passing.set()
            if self._stopping.is_set():
                self._give_back()
            return False
        if pause:
            self._passing.set()
        self._move_at = time.monotonic() + pause
        return True

    def _fail(self, error: BaseException) -> None:
        self._give_back()
        _log.error("moving events out of the spill file met %s and goes on", type(error).__name__)

    def _move(self) -> float | None:
        """Move some jobs. Return how long to wait before the next, ``None`` when the file is empty."""
        if self.is_away:
            with self._on_queue():
                self._queue.open()
        step = self._jobs.step()
        if step.is_idle:
            return None if self._end_if_empty() else min(_POLL, step.wait or _POLL)
        for job_id, failure in step.failed.items():  # they are in the file's failed queue
            self._on_lookup([job_id], {job_id: failure})
        self._on_moved()
        if step.left:
            self._give_back()
            return _POLL
        if (
            len(step.moved) == _JOBS_PER_MOVE
        ):  # after fewer, the next step is to find the file empty, and this to end
            self._passing.set()
        return 0.0

    def _note_moved(self, jobs: Sequence[NewJob], epoch: str, placed: Mapping[str, Placed]) -> None:
        self._moved += sum(job.events for job in jobs)
        with (
            self._lock
        ):  # `commit` must have told the ledger that they are in the file before this says that they left it
            self._ledger.note_moved([job.id for job in jobs if job.id not in placed], epoch)
            for job in jobs:
                if (parts := placed.get(job.id)) is not None:
                    self._ledger.note_parted(job.id, parts.parts, parts.order)
                    if parts.rest:
                        purged = replace(PURGED, indices=parts.purged, payload=b"")
                        self._on_lookup([parts.rest], {parts.rest: purged} if parts.purged else {})

    def _end_if_empty(self) -> bool:
        with self._lock, self._on_file():
            stats = self._file.stats()
            if stats.waiting.jobs or stats.delayed.jobs or stats.leased.jobs:
                return False
            self._jobs.leave()
            for epoch, ids in self._ledger.by_epoch(self._ledger.spilled_jobs).items():
                # The file was deleted, or an operator purged them there. What was erased from a batch goes with the batch.
                found = self._file.lookup(ids, epoch=epoch)
                lost = {
                    i: f
                    for i, f in found.items()
                    if f is None or not (f.reason == PURGED.reason and f.indices)
                }
                self._on_lookup(list(lost), lost)
            self._ledger.note_moved()  # also what another process has moved
            self.is_active = False
        _log.info("the queue is available again: %d events went from the spill file into it", self._moved)
        self._on_moved()
        return True

    def _give_back(self) -> None:
        with contextlib.suppress(QueueError):  # then the lease runs out by itself
            self._jobs.leave()

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
