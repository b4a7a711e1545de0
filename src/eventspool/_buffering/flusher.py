"""
What moves events from the buffer into the queue, batch by batch. It is a plain object (``_guest.loop.Repeated``).

While the queue cannot be reached, the flusher keeps the batches that it has made, with their ids, and takes no more events
from the buffer. So memory stays bounded by ``max_internal_queue_size``, and a commit that is repeated after an unknown outcome
adds no second job. With a spill file (see ``spill``) the batches go there instead, after a second.

Where the queue keeps the order per user, each batch belongs to one partition (see ``lanes``). While one partition cannot be
reached or is full, its batches wait, and the others' go on (see ``outbox``). Batches that were made for another division of
the queue are made anew.

A turn may be cut off at any line and is then repeated: what it moves is in the old place until it is in the new one, and each
step bears repeating.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

from eventspool._buffering.lookup import LookUp
from eventspool._buffering.maker import Maker
from eventspool._buffering.outbox import Outbox
from eventspool._buffering.place import Place
from eventspool._buffering.storing import JOBS_PER_COMMIT, Storing
from eventspool._buffering.thresholds import Thresholds
from eventspool._exceptions import QueueError
from eventspool._guest.log import Log
from eventspool._guest.throttle import Throttle
from eventspool._retry import compute_backoff
from eventspool._retry import system_random as random

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eventspool._backends import Backend
    from eventspool._buffering.buffer import Buffer
    from eventspool._buffering.spill import Spill
    from eventspool._config import ClientOpts
    from eventspool._job import Failure, NewJob
    from eventspool._routing import Routing
    from eventspool._settling.entries import Audit
    from eventspool._settling.ledger import Ledger

__all__ = ["Flusher", "Handover"]

_log = Log("eventspool")

_SPILL_POLL = 0.05
"""Seconds between two looks at whether it is time to spill, early in an outage."""
_HANDOVER_POLL = 0.1
"""Seconds between two looks at whether the previous queue has given its jobs away."""
_LONGEST_IDLE = 5.0
"""Seconds after which the flusher looks at the buffer unasked: an exception of the host's may have prevented a wake-up."""
_LONGEST_PAUSE = 1.0
"""Most seconds between two tries to reach a queue that is away. A failover takes two to five, and callers wait for it."""


class Handover(Protocol):
    """A queue that gives its jobs to the one that takes its place."""

    def collect(self, now: float) -> list[NewJob] | None:
        """Return its jobs in order, ``None`` while some of them may still be delivered."""


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
        self._outbox = Outbox()
        self._maker = Maker(
            buffer,
            ledger,
            self._outbox,
            few=opts.flush_at,
            max_batch_bytes=max_batch_bytes or opts.max_batch_bytes,
            trace=trace,
        )
        self._storing = Storing(
            self._outbox, self._maker, self._place, ledger, on_stored=self._note_stored, on_lookup=on_lookup
        )
        self._on_stored = on_stored
        self._handover: Handover | None = None
        self._is_hastened = False
        self._urgent_upto = 0
        self._flush_by: float | None = None
        self._paced_until = 0.0
        self._thresholds = Thresholds.of(opts, 1)
        self._routing: Routing | None = None
        self._retry_at = 0.0
        self._failures = 0
        self._committing = threading.Lock()
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
        self._is_hastened = True
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
            self._maker.max_batch_bytes = max_batch_bytes or self._opts.max_batch_bytes
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
        return self._outbox.events

    # -- a turn ------------------------------------------------------------------------------------------------------

    def patience(self, now: float) -> float:
        """Return how many seconds nothing is due, unless the buffer says otherwise."""
        until = now + _LONGEST_IDLE
        if self._handover is not None:
            return _HANDOVER_POLL
        if self._maker.is_unfinished:
            return 0.0
        may_make = not (self._is_put_off(now) or self._storing.is_unrouted)
        if self._outbox.jobs or self._storing.is_unrouted:
            until = min(until, max(self._retry_at, self._outbox.retry_at(now)))
            may_make = may_make and self._outbox.is_held_up(now)
            if self._place.may_spill:
                until = min(until, now + _SPILL_POLL)
        if may_make and self._flush_by is not None:
            paced = now < self._paced_until < self._flush_by
            until = min(until, self._paced_until if paced else self._flush_by)
        if self._look_up.due_at < until and self._look_up.is_needed:
            until = self._look_up.due_at
        return max(until - now, 0.0)

    def _is_put_off(self, now: float) -> bool:
        """What waits is tried again later: the queue has refused it."""
        return now < self._retry_at and bool(self._outbox.jobs or self._storing.is_unrouted)

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
        if self._maker.is_unfinished:
            self._maker.finish()
        if self._handover is not None and not self._take_over(self._handover, now):
            return
        self._place.look_into_file(now)
        self._look_up.look(now)
        if self._is_hastened:
            self._is_hastened = False
            self._outbox.hasten()
        if self._is_put_off(now) and not self._place.is_spill_due:
            return
        if self._outbox.jobs:
            self._learn_routing()
            self._commit()
        while self._may_make() and self._is_due(begun := time.monotonic()):
            self._learn_routing()
            self._paced_until = begun + self._thresholds.pace
            upto = self._buffer.accepted
            while self._has_more(upto):
                self._make_batches(upto)
                self._commit()
                if not self._may_make():
                    return
            self._flush_by = None  # the clock of events that came meanwhile starts with the next turn

    def _may_make(self) -> bool:
        """Nothing that is made could go now, so that more is to be made."""
        return not self._outbox.jobs or self._outbox.is_held_up(time.monotonic())

    def _learn_routing(self) -> None:
        routing = self._storing.learn_routing()
        if routing != self._routing:
            self._routing = routing
            self._thresholds = Thresholds.of(self._opts, 1 if routing is None else routing.partitions)

    def _take_over(self, handover: Handover, now: float) -> bool:
        """Adopt what the previous queue held, to be committed before anything else. Return whether that is done."""
        jobs = handover.collect(now)
        if jobs is None:
            return False
        self._outbox.put_first(jobs)
        self._handover = None
        return True

    def _is_due(self, now: float) -> bool:
        if not (self._buffer.waiting or self._buffer.arm(1)):
            self._flush_by = None
            return False
        if self._flush_by is None:
            self._flush_by = now + self._opts.flush_interval
        enough = self._thresholds.plenty if now < self._paced_until else self._thresholds.flush_at
        is_urgent = self._urgent_upto > self._buffer.taken or self._maker.is_amid_run
        return self._buffer.arm(enough) or is_urgent or now >= self._flush_by

    def _has_more(self, upto: int) -> bool:
        return self._buffer.taken < upto or self._maker.is_amid_run

    # -- batches -------------------------------------------------------------------------------------------------------

    def _make_batches(self, upto: int) -> None:
        """Make as many as one commit takes of the events below *upto*, of which there are some."""
        self._maker.compress = self._opts.gzip or self._place.backend.durable
        for _ in range(JOBS_PER_COMMIT):
            if not (
                self._maker.make(self._outbox) and self._has_more(upto)
            ):  # the client may close meanwhile
                return

    def audit(self, timeout: float) -> tuple[Audit, int, int, int] | None:
        """See ``Maker.audit``."""
        return self._maker.audit(timeout)

    def abandon_buffer(self) -> None:
        """See ``Maker.abandon_buffer``."""
        self._maker.abandon_buffer()

    def _commit(self) -> None:
        with self._committing:
            # The queue was switched amid this turn: what the previous one holds comes first.
            if self._handover is not None:
                return
            self._storing.commit()
        if not self._outbox.jobs:
            self.trouble = ""
        elif self._storing.refusal:
            self._retry_at = self._storing.retry_at
            self.refusals += 1
            self.trouble = self._storing.refusal
            self._throttle.warning("%s; events wait in memory", self.trouble)

    def _note_stored(self) -> None:
        self._buffer.refresh()
        self._on_stored()

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
            goal = Outbox()
            jobs = self._maker.copy(self._outbox)
            while self._maker.make(goal):
                pass
            self._place.rescue([*jobs, *goal.jobs], JOBS_PER_COMMIT)
