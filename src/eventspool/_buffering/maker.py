"""
Makes jobs of the events that wait longest, and other jobs of those that were made for another division of the queue.

Where the queue keeps the order per user, the maker takes what waits as one *run*, sorts it by the partition and lane of each
event's user, and cuts that into batches. The events of a run are numbered in that order, so each batch is a contiguous run of
numbers. A run ends where a flush does (see ``Buffer.draw_run``).

Each step may be cut off at any line. An event is in the buffer or in a job, and what was begun is noted in one assignment and
finished by the next call.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from eventspool._buffering.buffer import Drawn
from eventspool._buffering.lanes import Cut, cut_by_lanes, find_places, sort_places
from eventspool._envelope import EnvelopeError, open_envelope, seal
from eventspool._job import NewJob, new_job_id
from eventspool._routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eventspool._buffering.buffer import Buffer
    from eventspool._buffering.outbox import Outbox
    from eventspool._envelope import Envelope
    from eventspool._routing import Routing
    from eventspool._settling.entries import Audit
    from eventspool._settling.ledger import Ledger

__all__ = ["Maker"]

_RUN = 20_000
"""Most events of a run: a bound of how long one takes to sort."""
_FEW = 64
"""Events that are worth a batch of their own. Fewer share one with other lanes, and take as long to store and to send."""
_NEVER_STORED = "closed"


class _Staged(NamedTuple):
    """A batch that was made, and that may not be where it belongs yet."""

    job: NewJob
    drawn: Drawn
    goal: Outbox


@dataclass(frozen=True, slots=True)
class _Remade:
    """Jobs that were made anew, and that may not be in the place of the old ones yet."""

    old: list[str]
    new: list[NewJob]
    order: list[int]


class Maker:
    """
    Makes jobs.

    Args:
        buffer: Where events come from.
        ledger: Told of every job.
        outbox: Where jobs that are made anew take the place of others.
        few: Events that trigger a flush.
        max_batch_bytes: Largest request body that is made.
        trace: Returns what a batch of these events is to say of the spans in which they were tracked. Must not raise.
    """

    def __init__(
        self,
        buffer: Buffer,
        ledger: Ledger,
        outbox: Outbox,
        *,
        few: int,
        max_batch_bytes: int,
        trace: Callable[[Sequence[bytes]], bytes],
    ) -> None:
        self._buffer = buffer
        self._ledger = ledger
        self._outbox = outbox
        self._few = max(few, _FEW)
        self._trace = trace
        self._staged: _Staged | None = None
        self._remade: _Remade | None = None
        self._routing: Routing | None = None
        self._plan: dict[int, Cut] = {}  # the batches of the present run, by the number of their first event
        self._taking = threading.RLock()  # what was drawn is in the ledger before another thread looks
        self.max_batch_bytes = max_batch_bytes
        self.compress = True

    @property
    def routing(self) -> Routing | None:
        """How the queue is divided, where it keeps the order per user; ``None`` where it does not, or that is not known."""
        return self._routing

    @routing.setter
    def routing(self, routing: Routing | None) -> None:
        if routing != self._routing:
            with self._taking:
                self._plan = {}  # first: what is left of the run is sorted anew
                self._routing = routing

    @property
    def is_unfinished(self) -> bool:
        """A step was cut off."""
        return self._staged is not None or self._remade is not None

    @property
    def is_amid_run(self) -> bool:
        """A run is cut in part: the rest of it is due at once."""
        return bool(self._plan) and self._buffer.taken in self._plan

    # -- batches -------------------------------------------------------------------------------------------------------

    def make(self, goal: Outbox) -> bool:
        """Make a batch of the events that wait longest, and put it last in *goal*. Return whether any event waited."""
        with self._taking:
            if self.is_unfinished:
                self.finish()
            drawn, cut = self._draw()
            if not drawn.events:
                return False
            payload = seal(drawn.events, compress=self.compress, trace=self._trace(drawn.events))
            job_id, route = (new_job_id(), None) if cut is None else (new_job_id(cut.lanes), cut.route)
            self._staged = _Staged(
                NewJob(job_id, payload, len(drawn.events), route=route), drawn=drawn, goal=goal
            )
            self.finish()
        return True

    def _draw(self) -> tuple[Drawn, Cut | None]:
        """Return the events of the next batch, the same until they are a job; with order per user, how it was cut."""
        routing = self._routing
        if routing is None:
            return self._buffer.draw(self.max_batch_bytes), None
        drawn, count = self._buffer.draw_run(_RUN)
        cut = self._plan.get(drawn.first)
        if cut is None:
            if not drawn.events:
                return drawn, None
            drawn = self._sort(drawn, count, routing)
            cut = self._plan[drawn.first]
        return Drawn(drawn.first, drawn.events[: cut.events]), cut

    def _sort(self, drawn: Drawn, count: int, routing: Routing) -> Drawn:
        """Sort the first *count* events of *drawn*, and note how they are cut."""
        self._plan = {}  # first: should this be cut off, what is in the buffer is sorted once more
        events = drawn.events[:count]
        places = find_places(events, routing)
        order = sort_places(places)
        events, places = [events[at] for at in order], [places[at] for at in order]
        drawn = self._buffer.arrange(drawn, events + drawn.events[count:])
        plan, first = {}, drawn.first
        for cut in cut_by_lanes(events, places, routing, few=self._few, max_batch_bytes=self.max_batch_bytes):
            plan[first] = cut
            first += cut.events
        self._plan = plan
        return drawn

    def finish(self) -> None:
        """Put what was made where it belongs. Each step bears repeating: an exception may cut this off."""
        with self._taking:
            if (staged := self._staged) is not None:
                job, drawn = staged.job, staged.drawn
                self._ledger.open_job(job.id, drawn.first, drawn.events)
                staged.goal.put_last(job)
                self._buffer.forget(drawn)
                self._staged = None
            if (remade := self._remade) is not None:
                if self._ledger.remake(
                    remade.old, [(job.id, job.events) for job in remade.new], remade.order
                ):
                    self._outbox.replace(remade.old, remade.new)
                self._remade = None

    # -- other batches of the same events ------------------------------------------------------------------------------

    def make_anew(self, jobs: Sequence[NewJob], routing: Routing) -> None:
        """
        Put jobs for the division *routing* in the place of *jobs*, which are in the outbox and not in the queue.

        One that was partly delivered is delivered again.
        """
        with self._taking:
            self.finish()
            known = self._ledger.find_unstored([job.id for job in jobs])
            # The rest is in the spill file: another thread has put it there, for the client closes.
            self._outbox.take_off([job.id for job in jobs if job.id not in known])
            for run in _find_runs([job for job in jobs if job.id in known], known, routing):
                if isinstance(run, NewJob):
                    self._outbox.replace([run.id], [run])
                else:
                    self._remade = self._cut_anew(run, known, routing)
                    self.finish()

    def _cut_anew(
        self, run: list[tuple[NewJob, Envelope]], known: dict[str, range], routing: Routing
    ) -> _Remade:
        """Return the jobs that take the place of a run of jobs whose numbers follow each other."""
        first, last = known[run[0][0].id].start, known[run[-1][0].id].stop
        events = [event for _, envelope in run for event in envelope.split()]
        places = find_places(events, routing)
        cuts = [cut - first for cut in self._ledger.find_cuts(first, last)]
        order = sort_places(places, cuts)
        trace, attempts = run[0][1].trace, min(job.attempts for job, _ in run)
        new: list[NewJob] = []
        for start, end in zip((0, *cuts), (*cuts, len(events)), strict=True):
            part = [events[at] for at in order[start:end]]
            sorted_places = [places[at] for at in order[start:end]]
            at = 0
            for cut in cut_by_lanes(
                part, sorted_places, routing, few=self._few, max_batch_bytes=self.max_batch_bytes
            ):
                payload = seal(part[at : at + cut.events], compress=self.compress, trace=trace)
                new.append(NewJob(new_job_id(cut.lanes), payload, cut.events, attempts, route=cut.route))
                at += cut.events
        return _Remade([job.id for job, _ in run], new, order)

    # -- the end -------------------------------------------------------------------------------------------------------

    def copy(self, outbox: Outbox) -> list[NewJob]:
        """Return the jobs in *outbox*, while none of them is being replaced."""
        with self._taking:
            self.finish()
            return list(outbox.jobs)

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
            self.finish()
            left = self._buffer.end()
            if left.events:
                self._ledger.open_job(_NEVER_STORED, left.first, left.events)
                self._buffer.forget(left)


def _find_runs(
    jobs: Sequence[NewJob], known: dict[str, range], routing: Routing
) -> Iterator[list[tuple[NewJob, Envelope]] | NewJob]:
    """
    Yield what can be cut together: jobs whose numbers follow each other, and that went through the same.

    A job that keeps its events comes by itself, as it is to be: where there is one partition, and where it cannot be cut
    because an operator erased events from it. Then it goes to the first partition, and touches every lane there.
    """
    run: list[tuple[NewJob, Envelope]] = []
    for job in jobs:
        envelope = None if routing.partitions == 1 else _open_whole(job, known[job.id])
        if run and (envelope is None or not _belongs_to(run, job, envelope, known)):
            yield run
            run = []
        if envelope is None:
            yield replace(job, route=Route(routing.generation, 0))
        else:
            run.append((job, envelope))
    if run:
        yield run


def _belongs_to(
    run: list[tuple[NewJob, Envelope]], job: NewJob, envelope: Envelope, known: dict[str, range]
) -> bool:
    before, opened = run[-1]
    follows = known[before.id].stop == known[job.id].start
    return follows and (before.attempts, opened.trace) == (job.attempts, envelope.trace)


def _open_whole(job: NewJob, numbers: range) -> Envelope | None:
    """Return the batch of *job*; ``None`` where it cannot be read, or events were taken out of it."""
    try:
        envelope = open_envelope(job.payload)
    except EnvelopeError:
        return None
    return envelope if envelope.cut is None and envelope.events == len(numbers) else None
