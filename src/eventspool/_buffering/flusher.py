"""
What moves events from the buffer into the queue, batch by batch. It is a plain object (``_guest.loop.Repeated``).

While the queue cannot be reached, the flusher keeps the batches that it has made, with their ids, and takes no more events
from the buffer. So memory stays bounded by ``max_internal_queue_size``, and a commit that is repeated after an unknown outcome
adds no second job. With a spill file (see ``spill``) the batches go there instead, after a second.

A turn may be cut off at any line and is then repeated: what it moves is in the old place until it is in the new one, and each
step bears repeating.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from eventspool._buffering.lookup import LookUp
from eventspool._buffering.place import Place
from eventspool._envelope import seal
from eventspool._exceptions import QueueError
from eventspool._guest.log import Log
from eventspool._guest.throttle import Throttle
from eventspool._job import Failure, NewJob, new_job_id
from eventspool._retry import compute_backoff
from eventspool._retry import system_random as random

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eventspool._backends import Backend
    from eventspool._buffering.buffer import Buffer, Drawn
    from eventspool._buffering.spill import Spill
    from eventspool._config import ClientOpts
    from eventspool._settling.ledger import Audit, Ledger

__all__ = ["Flusher", "Handover"]

_log = Log("eventspool")

_JOBS_PER_COMMIT = 8
_FULL_PAUSE = 0.25
_SPILL_POLL = 0.05
"""Seconds between two looks at whether it is time to spill, early in an outage."""
_HANDOVER_POLL = 0.1
"""Seconds between two looks at whether the previous queue has given its jobs away."""
_PACE = 0.25
"""Seconds between flushes under load, unless ``_PLENTY`` events wait: batches grow instead of coming more often."""
_PLENTY = 1000
_LONGEST_IDLE = 5.0
"""Seconds after which the flusher looks at the buffer unasked: an exception of the host's may have prevented a wake-up."""
_LONGEST_PAUSE = 1.0
"""Most seconds between two tries to reach a queue that is away. A failover takes two to five, and callers wait for it."""
_NEVER_STORED = "closed"


class Handover(Protocol):
    """A queue that gives its jobs to the one that takes its place."""

    def collect(self, now: float) -> list[NewJob] | None:
        """Return its jobs in order, ``None`` while some of them may still be delivered."""


@dataclass(frozen=True, slots=True)
class _Staged:
    """A batch that was made, and that may not be in the list where it belongs yet."""

    job: NewJob
    drawn: Drawn
    goal: list[NewJob]


class Flusher:
    """
    Moves events from *buffer* into *backend*.

    Args:
        buffer: Where events come from.
        ledger: Told of every batch.
        backend: Where batches go.
        opts: The client's options.
        spill: Where batches go while *backend* is not available, or ``None``.
        max_batch_bytes: Largest request body that is made.
        trace: Returns what a batch of these events is to say of the spans in which they were tracked. Must not raise.
        on_stored: Called after each commit.
        on_lookup: Called with what the queue says of jobs that are open for long, and of those that never fit into it.
    """

    def __init__(
        self,
        buffer: Buffer,
        ledger: Ledger,
        backend: Backend,
        opts: ClientOpts,
        *,
        spill: Spill | None = None,
        max_batch_bytes: int | None = None,
        trace: Callable[[Sequence[bytes]], bytes] = lambda _: b"",
        on_stored: Callable[[], object],
        on_lookup: Callable[[list[str], Mapping[str, Failure | None]], object],
    ) -> None:
        self._buffer = buffer
        self._ledger = ledger
        self._opts = opts
        self._place = Place(backend, spill, buffer, opts.max_internal_queue_size)
        self._look_up = LookUp(ledger, self._place, on_lookup)
        self._max_batch_bytes = max_batch_bytes or opts.max_batch_bytes
        self._trace = trace
        self._on_stored = on_stored
        self._on_lookup = on_lookup
        self._staged: _Staged | None = None
        self._made: list[NewJob] = []
        self._adopted: list[NewJob] = []
        self._handover: Handover | None = None
        self._urgent_upto = 0
        self._flush_by: float | None = None
        self._paced_until = 0.0
        self._flush_at, self._plenty = _thresholds(opts)
        self._retry_at = 0.0
        self._failures = 0
        self._committing = threading.Lock()
        self._taking = threading.RLock()  # what was drawn is in the ledger before another thread looks
        self._closing = False
        self._throttle = Throttle(_log)
        self.trouble = ""
        """Why made batches are not stored yet, in words of ours; "" where they are, or where nothing went wrong so far."""
        self.refusals = 0
        """Times that the queue, or the file in its place, took nothing."""

    # -- from outside ------------------------------------------------------------------------------------------------

    def hasten(self, upto: int) -> None:
        """Move every event numbered below *upto* now, without waiting for ``flush_at`` or ``flush_interval``."""
        self._urgent_upto = max(self._urgent_upto, upto)
        self._retry_at = 0.0
        self._look_up.due_at = 0.0  # the caller waits, and the next look-up may be seconds away
        if self._place.spill is not None:
            self._place.spill.hasten()
        self._buffer.alarm()

    def switch(
        self,
        backend: Backend,
        spill: Spill | None,
        max_batch_bytes: int | None = None,
        handover: Handover | None = None,
    ) -> None:
        """
        Commit to *backend* from now on, or to its *spill*; first of all what the previous queue held.

        When this returns, no commit to the previous queue is under way. Until *handover* has given that queue's jobs, no other
        batch is committed.
        """
        with self._committing:
            self._ledger.forget_stored()  # first: otherwise a look-up would miss these jobs in the new queue
            self._handover = handover
            self._place.switch(backend, spill)
            self._max_batch_bytes = max_batch_bytes or self._opts.max_batch_bytes
        if spill is not None or handover is not None:
            self._buffer.alarm()

    def stop(self) -> None:
        """Let the turn that is under way be the last."""
        self._closing = True
        self._buffer.alarm()

    @property
    def is_handed_over(self) -> bool:
        """What a previous queue held is in the present one, or among the batches that are to go there."""
        return self._handover is None

    def count_held(self) -> int:
        """Return how many events are in made batches that only memory holds, and that a durable queue is to take."""
        if not (self._made or self._adopted):  # as after nearly every commit
            return 0
        return sum(job.events for job in (*self._made, *self._adopted))

    # -- a turn ------------------------------------------------------------------------------------------------------

    def patience(self, now: float) -> float:
        """Return how many seconds nothing is due, unless the buffer says otherwise."""
        until = now + _LONGEST_IDLE
        if self._handover is not None:
            return _HANDOVER_POLL
        if self._staged is not None:
            return 0.0
        if self._made or self._adopted:
            until = min(until, self._retry_at)
            if self._place.may_spill:
                until = min(until, now + _SPILL_POLL)
        elif self._flush_by is not None:
            paced = now < self._paced_until < self._flush_by
            until = min(until, self._paced_until if paced else self._flush_by)
        if self._look_up.due_at < until and self._look_up.is_needed:
            until = self._look_up.due_at
        return max(until - now, 0.0)

    def wait(self, patience: float | None) -> bool:
        """Wait until the buffer, or a thread that wants something stored, wakes it. Return whether one did."""
        return self._buffer.await_trigger(patience)

    def turn(self, now: float) -> bool:
        """Move what is due. What the queue cannot take now is kept, and tried again later."""
        if self._closing:
            return False
        try:
            self._turn(now)
            self._failures = 0
        except QueueError as error:
            self._failures += 1
            self.refusals += 1
            self.trouble = str(error)
            self._retry_at = time.monotonic() + compute_backoff(
                self._failures, 0.1, _LONGEST_PAUSE, random.random()
            )
            self._throttle.warning("the queue is not available (%s); events wait in memory", error)
        return True

    def _turn(self, now: float) -> None:
        if self._staged is not None:
            with self._taking:
                self._stage()
        if self._handover is not None and not self._take_over(self._handover, now):
            return
        self._place.look_into_file(now)
        self._look_up.look(now)
        if self._made or self._adopted:
            if now < self._retry_at and not self._place.is_spill_due:
                return
            self._commit()
        while not self._made and self._is_due(time.monotonic()):
            self._paced_until = time.monotonic() + _PACE
            upto = self._buffer.accepted
            while not self._made and self._buffer.taken < upto:
                self._make_batches(upto)
                self._commit()
            if not self._made:
                self._flush_by = None  # the clock of events that came meanwhile starts with the next turn

    def _take_over(self, handover: Handover, now: float) -> bool:
        """Adopt what the previous queue held, to be committed before anything else. Return whether that is done."""
        jobs = handover.collect(now)
        if jobs is None:
            return False
        known = {job.id for job in self._adopted}
        self._adopted = [*self._adopted, *(job for job in jobs if job.id not in known)]
        self._handover = None
        return True

    def _is_due(self, now: float) -> bool:
        if not (self._buffer.waiting or self._buffer.arm(1)):
            self._flush_by = None
            return False
        if self._flush_by is None:
            self._flush_by = now + self._opts.flush_interval
        enough = self._plenty if now < self._paced_until else self._flush_at
        return self._buffer.arm(enough) or self._urgent_upto > self._buffer.taken or now >= self._flush_by

    # -- batches -------------------------------------------------------------------------------------------------------

    def _make_batches(self, upto: int) -> None:
        is_open = True  # the client may close meanwhile
        while is_open and len(self._made) < _JOBS_PER_COMMIT and self._buffer.taken < upto:
            is_open = self._make_batch(self._made)

    def _make_batch(self, goal: list[NewJob]) -> bool:
        """Make a batch of the events that wait longest, and append it to *goal*. Return whether any event waited."""
        with self._taking:
            drawn = self._buffer.draw(self._max_batch_bytes)
            if not drawn.events:
                return False
            compress = self._opts.gzip or self._place.backend.durable
            payload = seal(drawn.events, compress=compress, trace=self._trace(drawn.events))
            self._staged = _Staged(NewJob(new_job_id(), payload, len(drawn.events)), drawn, goal)
            self._stage()
        return True

    def _stage(self) -> None:
        """Put a batch that was made where it belongs. Each step bears repeating: an exception may cut this off."""
        if (staged := self._staged) is None:
            return
        job, drawn, goal = staged.job, staged.drawn, staged.goal
        self._ledger.open_job(job.id, drawn.first, drawn.events)
        if not (goal and goal[-1].id == job.id):
            goal.append(job)
        self._buffer.forget(drawn)
        self._staged = None

    def audit(self, timeout: float) -> tuple[Audit, int, int, int] | None:
        """
        Return the ledger's audit and the buffer's *taken*, *held* and *waiting*, while no event is between the two.

        Return ``None`` where the flusher's thread does not let go of the buffer within *timeout* seconds.
        """
        if not self._taking.acquire(timeout=timeout):
            return None
        try:
            return self._ledger.audit(), self._buffer.taken, self._buffer.held, self._buffer.waiting
        finally:
            self._taking.release()

    def abandon_buffer(self) -> None:
        """Open the events that are left in the buffer as a job that will never be stored: the client has closed."""
        with self._taking:
            self._stage()
            left = self._buffer.end()
            if left.events:
                self._ledger.open_job(_NEVER_STORED, left.first, left.events)
                self._buffer.forget(left)

    def _commit(self) -> None:
        with self._committing:
            if (
                self._handover is not None
            ):  # the queue was switched amid this turn: what the previous one holds comes first
                return
            while self._adopted and self._store(self._adopted):
                pass
            while self._made and not self._adopted and self._store(self._made):
                pass
        if self._made or self._adopted:
            self._retry_at = time.monotonic() + _FULL_PAUSE
            self.trouble = f"{self._place.name} is full"
            self.refusals += 1
            self._throttle.warning("%s is full; events wait in memory until there is room", self._place.name)
        else:
            self.trouble = ""

    def _store(self, jobs: list[NewJob]) -> bool:
        """Commit the first of *jobs* and take them off the list. Return whether they all fitted into the queue."""
        group = jobs[:_JOBS_PER_COMMIT]
        result, spilled = self._place.commit(group)
        # What the file can never take waits for the queue.
        impossible = set() if spilled else set(result.impossible)
        left = {*result.rejected, *result.impossible} - impossible
        done = [job for job in group if job.id not in left] if left else group
        if done:
            if impossible:
                self._give_up([job for job in done if job.id in impossible])
            if not spilled:
                self._ledger.note_stored([job.id for job in done], result.epoch)
            jobs[:] = (
                [*(job for job in group if job.id in left), *jobs[len(group) :]]
                if left
                else jobs[len(group) :]
            )
            self._buffer.refresh()
            self._on_stored()
            if not spilled:
                self._place.open()
        return not left

    def _give_up(self, jobs: list[NewJob]) -> None:
        """Settle batches that the queue can never take, not even when it is empty."""
        for job in jobs:
            error = f"the queue can hold no batch of {len(job.payload):,} bytes: raise max_bytes, or the server's limit"
            self._throttle.error("%s; its %d events are given up", error, job.events)
            failure = Failure("too_large", error, job.events, payload=job.payload)
            self._on_lookup([job.id], {job.id: failure})

    # -- the end -------------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Note that the client closes: from now on nothing waits in memory for the end of an outage."""
        self._place.is_leaving = True

    def rescue(self) -> None:
        """
        Put what only memory holds into the spill file. For a thread that closes: the flusher's own may hang in a commit.

        Should that commit succeed after all, the job in the file has the same id.
        """
        if self._place.spill is not None:
            jobs = [*self._adopted, *self._made]
            while self._make_batch(jobs):
                pass
            self._place.rescue(jobs, _JOBS_PER_COMMIT)


def _thresholds(opts: ClientOpts) -> tuple[int, int]:
    """Return how many events trigger a flush, and how many trigger one soon after another."""
    if opts.calls_wait:  # a caller waits for each event
        return 1, 1
    flush_at = min(opts.flush_at, opts.max_internal_queue_size)
    return flush_at, max(flush_at, min(_PLENTY, opts.max_internal_queue_size // 4))
