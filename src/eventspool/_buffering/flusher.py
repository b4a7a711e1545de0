"""
The thread that moves events from the buffer into the queue, batch by batch.

While the queue cannot be reached it keeps the batches it has made, with their ids, and takes no more from the
buffer: so memory stays bounded by ``max_internal_queue_size``, and committing again after an unknown outcome
adds no second job. With a spill file (see ``spill``) the batches go there instead, after a second.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING

from eventspool._buffering.spill import is_spill_due
from eventspool._envelope import seal
from eventspool._exceptions import QueueError
from eventspool._job import NewJob, new_job_id
from eventspool._retry import compute_backoff
from eventspool._retry import system_random as random
from eventspool._throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from eventspool._backends import Backend
    from eventspool._buffering.buffer import Buffer
    from eventspool._buffering.ledger import Ledger
    from eventspool._buffering.spill import Spill
    from eventspool._config import ClientOpts
    from eventspool._job import CommitResult, Failure

__all__ = ["Flusher"]

_log = logging.getLogger("eventspool")

_JOBS_PER_COMMIT = 8
_FULL_PAUSE = 0.25
_SPILL_POLL = 0.05
"""Seconds between two looks at whether it is time to spill, early in an outage."""
_PACE = 0.25
"""Seconds between flushes under load, unless ``_PLENTY`` events wait: batches grow instead of coming more often."""
_PLENTY = 1000
_NEVER_STORED = "closed"


class Flusher:
    """
    Moves events from *buffer* into *backend*.

    Args:
        buffer: Where events come from.
        ledger: Told of every batch.
        backend: Where batches go.
        opts: The client's options.
        spill: Where batches go while *backend* is not available, or ``None``.
        on_stored: Called after each commit.
        on_lookup: Called with what the queue says of jobs that are open for long.
    """

    def __init__(
        self,
        buffer: Buffer,
        ledger: Ledger,
        backend: Backend,
        opts: ClientOpts,
        *,
        spill: Spill | None = None,
        on_stored: Callable[[], object],
        on_lookup: Callable[[list[str], Mapping[str, Failure | None]], object],
    ) -> None:
        self._buffer = buffer
        self._ledger = ledger
        self.backend = backend
        self.spill = spill
        self._opts = opts
        self._on_stored = on_stored
        self._on_lookup = on_lookup
        self._opened: Backend | None = None
        self._made: list[NewJob] = []
        self._adopted: list[NewJob] = []
        self._urgent_upto = 0
        self._flush_by: float | None = None
        self._paced_until = 0.0
        self._flush_at, self._plenty = _thresholds(opts)
        self._retry_at = 0.0
        self._away_since: float | None = (
            None  # since when the queue has not answered, with no file in its place
        )
        self._file_retry_at = 0.0
        self._lookup_at = 0.0
        self._failures = 0
        self._committing = threading.Lock()
        self._taking = threading.Lock()  # what leaves the buffer is in the ledger before anybody else looks
        self._closing = threading.Event()
        self._leaving = False
        self._thread = threading.Thread(target=self._run, name="eventspool-flusher", daemon=True)
        self._throttle = Throttle(_log)
        self.is_started = False
        """Its thread runs, or ran."""

    def start(self) -> None:
        """Start the thread, unless that was done. Raises ``RuntimeError`` where none is to be had, and may be called again."""
        if self.is_started:
            return
        self.is_started = True  # first: starting may be interrupted once the thread is there
        try:
            self._thread.start()
        except RuntimeError:
            self.is_started = False
            raise
        if self.spill is not None:
            self._buffer.alarm()  # its file may hold something

    @property
    def is_current(self) -> bool:
        """Whether this is its thread."""
        return self._thread is threading.current_thread()

    def hasten(self, upto: int) -> None:
        """Move every event numbered below *upto* now, without waiting for ``flush_at`` or ``flush_interval``."""
        self._urgent_upto = max(self._urgent_upto, upto)
        self._retry_at = 0.0
        self._lookup_at = 0.0  # somebody waits now: the next look-up may be seconds away
        if self.spill is not None:
            self.spill.hasten()
        self._buffer.alarm()

    def switch(self, backend: Backend, spill: Spill | None) -> None:
        """Commit to *backend* from now on, or to its *spill*. When this returns, no commit to the one before is under way."""
        with self._committing:
            self._ledger.forget_stored()  # first: a look-up in the new queue must not miss them there
            self.backend = backend
            self.spill = spill
        if spill is not None:
            self._buffer.alarm()

    def adopt(self, jobs: list[NewJob]) -> None:
        """Take over jobs that the backend before held and commit them before anything else."""
        self._adopted = [*self._adopted, *jobs]
        self._buffer.alarm()

    def stop(self) -> None:
        """End the thread after its present turn."""
        self._closing.set()
        self._buffer.alarm()

    def join(self, timeout: float) -> None:
        """Wait at most *timeout* seconds until the thread has ended."""
        self._thread.join(max(timeout, 0.0))

    def _run(self) -> None:
        while not self._closing.is_set():
            self._buffer.await_trigger(self._patience())
            try:
                self._turn(time.monotonic())
                self._failures = 0
            except QueueError as error:
                self._failures += 1
                self._retry_at = time.monotonic() + compute_backoff(self._failures, 0.1, 5.0, random.random())
                self._throttle.warning("the queue is not available (%s); events wait in memory", error)
            except Exception as error:  # noqa: BLE001 - a bug must not stop the flow for ever
                self._retry_at = time.monotonic() + 1.0
                _log.error("flushing met %s and goes on", type(error).__name__)

    def _patience(self) -> float | None:
        now = time.monotonic()
        moments = []
        if self._made or self._adopted:
            may_spill = self.spill is not None and self._away_since is not None
            moments.append(min(self._retry_at, now + _SPILL_POLL) if may_spill else self._retry_at)
        elif self._flush_by is not None:
            paced = now < self._paced_until < self._flush_by
            moments.append(self._paced_until if paced else self._flush_by)
        if self._ledger.open_jobs and self.backend.shared:
            moments.append(self._lookup_at)
        return max(min(moments) - now, 0.0) if moments else None

    def _turn(self, now: float) -> None:
        self._look_into_spill(now)
        if self._ledger.open_jobs and self.backend.shared and now >= self._lookup_at:
            self._look_up_calmly(now)
        if self._made or self._adopted:
            if now < self._retry_at and not self._is_spill_due():
                return
            self._commit()
        while not self._made and self._is_due(time.monotonic()):
            self._paced_until = time.monotonic() + _PACE
            upto = self._buffer.accepted
            while not self._made and self._buffer.taken < upto:
                self._make_batches(upto)
                self._commit()
            if not self._made:
                self._flush_by = None  # the clock of whatever came meanwhile starts with the next turn

    def _is_due(self, now: float) -> bool:
        if not (self._buffer.waiting or self._buffer.arm(1)):
            self._flush_by = None
            return False
        if self._flush_by is None:
            self._flush_by = now + self._opts.flush_interval
        enough = self._plenty if now < self._paced_until else self._flush_at
        return self._buffer.arm(enough) or self._urgent_upto > self._buffer.taken or now >= self._flush_by

    def _make_batches(self, upto: int) -> None:
        while len(self._made) < _JOBS_PER_COMMIT and self._buffer.taken < upto:
            job = self._make_batch()
            if job is None:  # the client has closed meanwhile
                return
            self._made.append(job)

    def _make_batch(self) -> NewJob | None:
        compress = self._opts.gzip or self.backend.durable
        job_id = new_job_id()
        with self._taking:
            taken = self._buffer.take(self._opts.max_batch_bytes)
            if not taken.events:
                return None
            self._ledger.open_job(job_id, taken.first, taken.events)
        return NewJob(job_id, seal(taken.events, compress=compress), len(taken.events))

    def abandon_buffer(self) -> None:
        """Open what is left in the buffer as a job that will never be stored: the client has closed."""
        with self._taking:
            left = self._buffer.end()
            if left.events:
                self._ledger.open_job(_NEVER_STORED, left.first, left.events)

    def _commit(self) -> None:
        with self._committing:
            while self._adopted and self._store(self._adopted):
                pass
            while self._made and not self._adopted and self._store(self._made):
                pass
        if self._made or self._adopted:
            self._retry_at = time.monotonic() + _FULL_PAUSE
            self._throttle.warning(
                "%s is full; events wait in memory until there is room",
                "the spill file" if self.spill is not None and self.spill.is_active else "the queue",
            )

    def _store(self, jobs: list[NewJob]) -> bool:
        """Commit the first of *jobs* and take them off the list. Return whether they all fitted into the queue."""
        group = jobs[:_JOBS_PER_COMMIT]
        result = self._spill_group(group)
        spilled = result is not None
        if result is None:
            with self._noting_outages():
                result = self.backend.commit(group)
        left = set(result.rejected)
        stored = [job for job in group if job.id not in left]
        if stored:
            jobs[:] = [job for job in group if job.id in left] + jobs[len(group) :]
            if not spilled:
                self._ledger.note_stored((job.id for job in stored), result.epoch)
            if self.backend.durable:
                self._buffer.release(sum(job.events for job in stored))
            self._on_stored()
            if not spilled and self._opened is not self.backend:
                self._opened = self.backend
                with contextlib.suppress(QueueError):  # commits do without; it warns of what storage is like
                    self.backend.open()
        return not left

    def _look_up_calmly(self, now: float) -> None:
        try:
            self._look_up(now)
        except QueueError as error:
            if self.spill is None:
                raise
            self._throttle.warning("the queue is not available (%s)", error)  # commits go on, into the file

    @contextlib.contextmanager
    def _noting_outages(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except QueueError:
            if self._away_since is None:
                self._away_since = began
            raise
        self._away_since = None

    # -- the spill file ------------------------------------------------------------------------------------------------

    def _spill_group(self, group: list[NewJob]) -> CommitResult | None:
        """Commit to the spill file. Return ``None`` where *group* is for the queue."""
        spill = self.spill
        if spill is None or not (spill.is_active or self._is_spill_due()):
            return None
        try:
            result = spill.commit(group, begin=self._is_spill_due())
        except QueueError as error:
            if spill.is_active and not spill.is_broken:
                raise  # the mover can read it: nothing may overtake what is in there
            self._file_retry_at = time.monotonic() + 1.0
            self._throttle.warning("the spill file cannot be used (%s)", error)
            return None
        self._away_since = None
        return result

    def _is_spill_due(self) -> bool:
        now = time.monotonic()
        if self.spill is None or self._away_since is None or now < self._file_retry_at:
            return False
        capacity = self._opts.max_internal_queue_size
        return is_spill_due(now - self._away_since, self._buffer.held, capacity, leaving=self._leaving)

    def _look_into_spill(self, now: float) -> None:
        if self.spill is not None:
            try:
                self.spill.look(now)
            except QueueError as error:
                self._throttle.warning("the spill file cannot be used (%s)", error)

    def leave(self) -> None:
        """Be told that the client closes: from now on nothing waits in memory for the end of an outage."""
        self._leaving = True

    def rescue(self) -> None:
        """
        Put what only memory holds into the spill file, from another thread: ours may hang in a commit.

        Should that commit succeed yet, the file's job has the same id.
        """
        spill = self.spill
        if spill is None:
            return
        jobs = [*self._adopted, *self._made]
        while (job := self._make_batch()) is not None:
            jobs.append(job)
        try:
            for at in range(0, len(jobs), _JOBS_PER_COMMIT):
                spill.commit(jobs[at : at + _JOBS_PER_COMMIT], begin=True)
        except QueueError as error:
            self._throttle.warning("the spill file cannot be used (%s)", error)

    def _look_up(self, now: float) -> None:
        """Ask the queue for jobs that are open for long: another process may have settled them."""
        hurry = self._ledger.has_waiters
        self._lookup_at = now + (0.25 if hurry else 5.0)
        if self.spill is not None and self.spill.is_active:
            self._lookup_at = now + 1.0  # among the jobs in the file it takes longer to find the others
            if self.spill.is_away:
                return  # commits to the file must not wait for an answer that will not come
        stale = self._ledger.stale_jobs(0.5 if hurry else 5.0, 500)
        for epoch, ids in self._ledger.by_epoch(stale).items():
            with self._noting_outages():
                standing = self.backend.lookup(ids, epoch=epoch)
            self._on_lookup(ids, standing)


def _thresholds(opts: ClientOpts) -> tuple[int, int]:
    """Return how many events trigger a flush, and how many do so soon after another one."""
    if opts.durability == "persisted":  # somebody waits for each
        return 1, 1
    flush_at = min(opts.flush_at, opts.max_internal_queue_size)
    return flush_at, max(flush_at, min(_PLENTY, opts.max_internal_queue_size // 4))
