"""
Who waits for which event: callbacks, flushes, and the counts of ``stats()``.

Accepted events are numbered. A batch is a contiguous run of numbers, so one job id and two integers stand for
all of its events, and only events with a callback cost an entry of their own. Each event is settled exactly
once, whoever learns of it first: this process's processor, or a look-up of a job that another process
delivered.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Self

    from eventspool._exceptions import DeliveryError

__all__ = ["FlushResult", "Ledger", "LedgerCounts", "Waiter", "WatchedEvent"]

_MAX_ORIGINS = 10_000
"""Origins kept for open jobs: in a long outage there would be one for every request."""


@dataclass(frozen=True, slots=True)
class FlushResult:
    """
    What became of the events that a flush waited for.

    Args:
        delivered: The data plane took them, from whichever process.
        failed: They were given up.
        pending: Neither yet: the timeout passed first.
    """

    delivered: int = 0
    failed: int = 0
    pending: int = 0


class WatchedEvent(bytes):
    """An encoded event that carries something along to the ledger. In every other respect it is its bytes."""

    callback: Callable[..., object] | None = None
    message_id: str = ""
    origin: object | None = None

    @classmethod
    def make(cls, encoded: bytes, callback: Callable[..., object], message_id: str) -> Self:
        """Return *encoded* with its *callback*."""
        event = cls(encoded)
        event.callback, event.message_id = callback, message_id
        return event


class LedgerCounts(NamedTuple):
    """Events delivered, given up, lost, stored and not settled, of these in the spill file; the reasons of two of them."""

    delivered: int
    failed: int
    lost: int
    stored: int
    spilled: int
    failed_reasons: dict[str, int]
    lost_reasons: dict[str, int]


class _OpenJob(NamedTuple):
    first: int
    events: int
    since: float
    epoch: str = ""


class Waiter:
    """One flush call: counts the events below *cut* down to nothing."""

    def __init__(self, cut: int, remaining: int) -> None:
        self.cut = cut
        self.remaining = remaining
        self.delivered = 0
        self.failed = 0
        self.done = threading.Event()
        if not remaining:
            self.done.set()

    def settle(self, first: int, events: int, failed: Sequence[int]) -> None:
        covered = min(first + events, self.cut) - first
        if covered <= 0:
            return
        lost = sum(1 for i in failed if i < covered)
        self.failed += lost
        self.delivered += covered - lost
        self.remaining -= covered
        if not self.remaining:
            self.done.set()

    def result(self) -> FlushResult:
        return FlushResult(self.delivered, self.failed, self.remaining)


class Ledger:
    """
    Settles every accepted event exactly once.

    Args:
        submit: Runs a function with arguments on the callback thread.
    """

    def __init__(self, submit: Callable[..., object]) -> None:
        self._submit = submit
        self._lock = threading.RLock()  # a signal handler, or a destructor, may interrupt its holder
        self._open: dict[str, _OpenJob] = {}
        self._callbacks: dict[int, tuple[Callable[..., object], str]] = {}
        self._origins: dict[str, tuple[object, ...]] = {}  # by job
        self._kept_origins = 0
        self._waiters: list[Waiter] = []
        self._batched = 0  # events with a lower number are, or were, in a job
        self._unstored: dict[
            str, int
        ] = {}  # open jobs that are not in the queue, and their first events, in order
        self._spilled: set[str] = set()  # open jobs that the spill file holds, and not yet the queue
        self._stored_changed = threading.Condition(self._lock)
        self._ended = False
        self._watching = False  # events that carry something are looked for only where there ever was one
        self.delivered = 0
        self.failed = 0
        self.failed_reasons: Counter[str] = Counter()
        """Events given up, by reason."""
        self.lost = 0
        self.lost_reasons: Counter[str] = Counter()
        """Events lost, by reason: see ``ClientStats``."""
        self.stored_events = 0
        """Events of open jobs that are in the queue, or in the spill file."""
        self.spilled_events = 0
        """Events of open jobs that are in the spill file."""

    # -- the way in ------------------------------------------------------------------------------------------------

    def open_job(self, job_id: str, first: int, events: Sequence[bytes]) -> None:
        """Note that *events*, from number *first* on, travel as *job_id*. Jobs are opened in the order of their events."""
        with self._lock:
            if self._watching:
                self._watch_job(job_id, first, events)
            self._open[job_id] = _OpenJob(first, len(events), time.monotonic())
            self._unstored[job_id] = first
            self._batched = first + len(events)

    def _watch_job(self, job_id: str, first: int, events: Sequence[bytes]) -> None:
        origins: dict[int, object] = {}  # by identity: a request's events share theirs
        for number, event in enumerate(events, first):
            if type(event) is WatchedEvent:
                if event.callback is not None:
                    self._callbacks[number] = (event.callback, event.message_id)
                if event.origin is not None:
                    origins[id(event.origin)] = event.origin
        if origins and self._kept_origins + len(origins) <= _MAX_ORIGINS:
            self._origins[job_id] = tuple(origins.values())
            self._kept_origins += len(origins)

    def watch(self, encoded: bytes, callback: Callable[..., object], message_id: str) -> bytes:
        """Return *encoded* as an event whose end is told to ``callback(error, message_id)``."""
        self._watching = True
        return WatchedEvent.make(encoded, callback, message_id)

    def mark(self, encoded: bytes, origin: object | None) -> bytes:
        """Return *encoded* as an event whose job remembers *origin*."""
        if origin is None:
            return encoded
        self._watching = True
        event = encoded if type(encoded) is WatchedEvent else WatchedEvent(encoded)
        event.origin = origin
        return event

    def origins(self, job_id: str) -> tuple[object, ...]:
        """Return what the events of an open job were marked with, each origin once; nothing where there were too many."""
        return self._origins.get(job_id, ())

    def note_stored(self, ids: Iterable[str], epoch: str = "") -> None:
        """Note that these jobs are in the queue, since it has this *epoch*."""
        with self._lock:
            for job_id in ids:
                if self._unstored.pop(job_id, None) is not None:
                    job = self._open[job_id]
                    self._open[job_id] = job._replace(epoch=epoch)
                    self.stored_events += job.events
            self._stored_changed.notify_all()

    def note_spilled(self, ids: Iterable[str], epoch: str = "") -> None:
        """Note that these jobs are in the spill file: stored, but nothing that a look-up in the queue would find."""
        with self._lock:
            for job_id in ids:
                if self._unstored.pop(job_id, None) is not None:
                    job = self._open[job_id]
                    self._open[job_id] = job._replace(epoch=epoch)
                    self.stored_events += job.events
                    self.spilled_events += job.events
                    self._spilled.add(job_id)
            self._stored_changed.notify_all()

    def note_moved(self, ids: Iterable[str] | None = None, epoch: str = "") -> None:
        """
        Note that these jobs (``None``: all) went from the spill file into the queue.

        Its *epoch* is "" where another process has moved them.
        """
        with self._lock:
            for job_id in list(self._spilled) if ids is None else ids:
                if job_id in self._open:
                    self._leave_spill(job_id)
                    self._open[job_id] = self._open[job_id]._replace(epoch=epoch)

    def _leave_spill(self, job_id: str) -> None:
        if job_id in self._spilled:
            self._spilled.discard(job_id)
            self.spilled_events -= self._open[job_id].events

    def forget_stored(self) -> None:
        """Note that another queue takes the place of the one that held the open jobs: it has none of them yet."""
        with self._lock:
            self._unstored = dict(
                sorted(((i, job.first) for i, job in self._open.items()), key=itemgetter(1))
            )
            self.stored_events = 0

    # -- the way out -----------------------------------------------------------------------------------------------

    def settle(
        self,
        job_id: str,
        error: DeliveryError | None = None,
        indices: Sequence[int] | None = None,
        *,
        lost_as: str = "emptied",
    ) -> int:
        """
        Note the end of a job: delivered, but for the events at *indices* (``None``: all) where there is an
        *error*. Events that are lost are counted under *lost_as*, but for those that were purged.

        Return how many events that settled: 0 when the job is not ours or was settled before.
        """
        with self._lock:
            self._leave_spill(job_id)
            job = self._open.pop(job_id, None)
            self._kept_origins -= len(self._origins.pop(job_id, ()))
            if job is None:
                return 0
            failed: Sequence[int] = ()
            if error is not None:
                failed = range(job.events) if indices is None else indices
            if error is not None and error.reason in ("lost", "purged"):
                self.lost += len(failed)
                self.lost_reasons[lost_as if error.reason == "lost" else "purged"] += len(failed)
            elif error is not None:
                self.failed += len(failed)
                self.failed_reasons[error.reason] += len(failed)
            self.delivered += job.events - len(failed)
            if self._unstored.pop(job_id, None) is None:
                self.stored_events -= job.events
            else:  # settled before we heard that it was stored, or never stored at all
                self._stored_changed.notify_all()
            for waiter in self._waiters:
                waiter.settle(job.first, job.events, failed)
            calls = self._take_callbacks(job, frozenset(failed), error)
        for callback, outcome, message_id in calls:
            self._submit(callback, outcome, message_id)
        return job.events

    def _take_callbacks(
        self, job: _OpenJob, failed: frozenset[int], error: DeliveryError | None
    ) -> list[tuple[Callable[..., object], DeliveryError | None, str]]:
        calls: list[tuple[Callable[..., object], DeliveryError | None, str]] = []
        if self._callbacks:
            for offset in range(job.events):
                entry = self._callbacks.pop(job.first + offset, None)
                if entry is not None:
                    calls.append((entry[0], error if offset in failed else None, entry[1]))
        return calls

    # -- waiting ---------------------------------------------------------------------------------------------------

    def open_waiter(self, cut: int) -> Waiter:
        """Return a waiter for every unsettled event numbered below *cut*."""
        with self._lock:
            remaining = max(0, cut - self._batched)
            for job in list(self._open.values()):  # at once, for the same reason as in `_count_stored`
                remaining += max(0, min(job.first + job.events, cut) - job.first)
            waiter = Waiter(cut, remaining)
            if self._ended:
                waiter.done.set()
            self._waiters.append(waiter)
            return waiter

    def close_waiter(self, waiter: Waiter) -> FlushResult:
        """Stop counting for *waiter* and return what it counted."""
        with self._lock:
            self._waiters.remove(waiter)
            return waiter.result()

    def lose(self, *, stored_too: bool, error: DeliveryError) -> int:
        """
        Settle with *error* every open job that only memory holds: the process is closing.

        Args:
            stored_too: The queue itself is only memory.
            error: Given to the callbacks.

        Return how many events that were.
        """
        with self._lock:
            doomed = list(self._open if stored_too else self._unstored)
        lost_as = "undelivered" if stored_too else "unstored"
        return sum(self.settle(job_id, error, lost_as=lost_as) for job_id in doomed)

    def release_waiters(self) -> None:
        """End every wait: nothing will be settled any more."""
        with self._lock:
            self._ended = True
            for waiter in self._waiters:
                waiter.done.set()
            self._stored_changed.notify_all()

    def await_stored(self, upto: int, timeout: float | None) -> bool:
        """Wait until every event numbered below *upto* is in the queue (or beyond). Return whether it came to that."""
        with self._stored_changed:
            self._stored_changed.wait_for(lambda: self._ended or self._count_stored() >= upto, timeout)
            return self._count_stored() >= upto

    def _count_stored(self) -> int:
        while True:
            try:
                return next(iter(self._unstored.values()), self._batched)
            except (
                RuntimeError
            ):  # it changed: a signal handler interrupted us, and waited as we do, without the lock
                continue

    # -- looking -----------------------------------------------------------------------------------------------------

    def stale_jobs(self, older_than: float, limit: int) -> list[str]:
        """Return up to *limit* stored jobs that are open for *older_than* seconds, oldest first, and put them last."""
        horizon = time.monotonic() - older_than
        with self._lock:
            found: list[str] = []
            for job_id, job in self._open.items():
                if job.since > horizon or len(found) == limit:
                    break
                if job_id not in self._unstored and job_id not in self._spilled:
                    found.append(job_id)
            for job_id in found:
                self._open[job_id] = self._open.pop(job_id)
            return found

    @property
    def spilled_jobs(self) -> list[str]:
        """The open jobs that the spill file holds, for all that this process knows."""
        with self._lock:
            return list(self._spilled)

    def by_epoch(self, ids: Iterable[str]) -> dict[str, list[str]]:
        """Return the open ones of *ids* by the epoch of the storage that took them: one, unless that was replaced."""
        found: dict[str, list[str]] = {}
        with self._lock:
            for job_id in ids:
                job = self._open.get(job_id)
                if job is not None:
                    found.setdefault(job.epoch, []).append(job_id)
        return found

    def counts(self) -> LedgerCounts:
        """Return the counts as of one moment."""
        with self._lock:
            return LedgerCounts(
                self.delivered,
                self.failed,
                self.lost,
                self.stored_events,
                self.spilled_events,
                dict(self.failed_reasons),
                dict(self.lost_reasons),
            )

    @property
    def stored(self) -> int:
        """Every event with a lower number is in the queue, or was."""
        with self._lock:
            return self._count_stored()

    def position(self, job_id: str) -> int:
        """Return the number of an open job's first event, 0 where it is not open."""
        with self._lock:
            job = self._open.get(job_id)
            return job.first if job else 0

    @property
    def open_jobs(self) -> int:
        """Jobs that are not settled."""
        return len(self._open)

    @property
    def has_waiters(self) -> bool:
        """Whether a flush or a callback is waiting."""
        return bool(self._waiters or self._callbacks)
