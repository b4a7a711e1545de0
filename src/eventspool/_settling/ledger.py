"""
The account of all accepted events: which job each is in, where that job is, and how it ended.

Accepted events are numbered. A batch is a contiguous run of numbers, so one job id and two integers stand for
all of its events, and only events with a callback cost an entry of their own. Each event is settled exactly
once: by this process's processor, or by a look-up of a job that another process delivered.

An exception may cut off any step (a thread of ours may meet a ``MemoryError``). So how a job ends is worked out first,
then noted as one value, and then carried out in steps that bear repeating; the next call finishes what was cut off.
Everything else here is derived, or is one assignment. It is one class, longer than others, because one lock and that one
noted value guard all of it.
"""

from __future__ import annotations

import threading
import time
import weakref
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING

from eventspool._exceptions import DeliveryError
from eventspool._job import PURGED
from eventspool._settling.account import Account, LedgerCounts
from eventspool._settling.entries import Audit, End, OpenJob, Remade
from eventspool._settling.waiter import FlushResult, Waiter
from eventspool._settling.watched import Watchers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["Ledger"]

MAX_FOLLOWED = 50_000
"""Stored jobs whose end this process waits to learn, where no callback waits for it: some 15 MB."""


class Ledger:
    """
    Settles every accepted event exactly once.

    Args:
        put_calls: Has some functions run on the thread of the callbacks. Either all are taken or, where it raises, none.
        on_calls: Told afterwards that there are some.
        is_strict: A job counts as stored only when the queue has acknowledged it: not in the spill file, and not because it
            was delivered meanwhile.
    """

    def __init__(
        self,
        put_calls: Callable[[Iterable[Callable[[], object]]], None],
        on_calls: Callable[[], object] = lambda: None,
        *,
        is_strict: bool = False,
    ) -> None:
        self._put_calls = put_calls
        self._on_calls = on_calls
        self._is_strict = is_strict
        self._lock = threading.RLock()  # of our threads only; a destructor may interrupt its holder
        self._open: dict[str, OpenJob] = {}
        self._watchers = Watchers()
        self.watch = self._watchers.watch  # for the callers' threads
        self._waiters: weakref.WeakSet[Waiter] = weakref.WeakSet()  # a call that was interrupted leaves none
        self._batched = 0  # events with a lower number are, or were, in a job
        # Open jobs that are not in the queue, in order.
        self._unstored: dict[str, OpenJob] = {}
        self._spilled: dict[str, None] = {}  # open jobs that the spill file holds, and not yet the queue
        self._stored_changed = threading.Condition(self._lock)
        self._ended = False
        self._account = Account()
        self._end: End | None = None
        self._remade: Remade | None = None

    # -- the way in ------------------------------------------------------------------------------------------------

    def open_job(self, job_id: str, first: int, events: Sequence[bytes]) -> None:
        """
        Note that *events*, from number *first* on, travel as *job_id*. Jobs are opened in the order of their events.

        May be repeated.
        """
        with self._lock:
            self._finish()
            if self._batched > first:  # the last step was done
                return
            self._watchers.note_job(job_id, first, events)
            self._open[job_id] = self._unstored[job_id] = OpenJob(first, len(events), time.monotonic())
            self._batched = first + len(events)

    def remake(self, old: Sequence[str], new: Sequence[tuple[str, int]], order: Sequence[int]) -> bool:
        """
        Note that other jobs take the place of jobs that only memory holds. May be repeated.

        Args:
            old: Jobs whose numbers follow each other.
            new: Id and events of each new job.
            order: Of the event that is the first of them now, the second, and so on: the place among the *old* ones' events.

        Return ``False``, and change nothing, where one of the *old* jobs is stored.
        """
        with self._lock:
            self._finish()
            if all(job_id in self._open for job_id, _ in new):  # the last step was done
                return True
            if not all(job_id in self._unstored for job_id in old):
                return False
            first, jobs = self._unstored[old[0]].first, {}
            watched = self._watchers.rearrange(old, new, first, order)
            now, number = time.monotonic(), first
            for job_id, events in new:
                jobs[job_id] = OpenJob(number, events, now)
                number += events
            kept = {job_id: job for job_id, job in self._unstored.items() if job_id not in old}
            unstored = dict(sorted({**kept, **jobs}.items(), key=itemgetter(1)))
            self._remade = Remade(frozenset(old), jobs, unstored, watched)
            self._finish()
        return True

    def _finish_remaking(self, remade: Remade) -> None:
        # A destructor may interrupt us, and what it calls does it all. Then what has come since must not be undone.
        if self._remade is remade:
            self._open.update(remade.new)
        if self._remade is remade:
            self._unstored = remade.unstored
        for job_id in remade.old:
            self._spilled.pop(job_id, None)
            self._open.pop(job_id, None)
        if self._remade is remade:
            self._watchers.take_over(remade.watched)
            self._remade = None

    def find_unstored(self, ids: Iterable[str]) -> dict[str, range]:
        """Return those of *ids* that only memory holds, and the numbers of their events."""
        with self._lock:
            self._finish()
            return {job_id: self._unstored[job_id].numbers for job_id in ids if job_id in self._unstored}

    def find_cuts(self, first: int, last: int) -> list[int]:
        """Return at which numbers a flush ends that waits for some events numbered from *first* to *last*, and not for all."""
        with self._lock:
            return sorted({waiter.cut for waiter in list(self._waiters) if first < waiter.cut < last})

    def note_stored(self, ids: Iterable[str], epoch: str = "") -> None:
        """Note that these jobs are in the queue, since it has this *epoch*."""
        self._note_stored(list(ids), epoch, spilled=False)

    def note_spilled(self, ids: Iterable[str], epoch: str = "") -> None:
        """Note that these jobs are in the spill file: stored, but nothing that a look-up in the queue would find."""
        self._note_stored(list(ids), epoch, spilled=True)

    def _note_stored(self, ids: list[str], epoch: str, *, spilled: bool) -> None:
        with self._lock:
            self._finish()
            for job_id in ids:
                job = self._unstored.get(job_id)
                if job is not None:
                    self._open[job_id] = job._replace(epoch=epoch)
                    if spilled:
                        self._spilled[job_id] = None
                    self._unstored.pop(job_id, None)
                if not (spilled and self._is_strict):
                    self._watchers.say_stored(job_id, True)
            self._stored_changed.notify_all()
            self._end_stored_waiters()

    def _end_stored_waiters(self) -> None:
        if self._waiters:
            stored = self._count_stored()
            for waiter in list(self._waiters):
                if waiter.until_stored and not waiter.is_over and waiter.cut <= stored:
                    waiter.end()

    def note_moved(self, ids: Iterable[str] | None = None, epoch: str = "") -> None:
        """
        Note that these jobs (``None``: all) went from the spill file into the queue.

        Its *epoch* is "" where another process has moved them.
        """
        with self._lock:
            self._finish()
            for job_id in list(self._spilled) if ids is None else ids:
                if job_id in self._open:
                    self._open[job_id] = self._open[job_id]._replace(epoch=epoch)
                self._spilled.pop(job_id, None)
                if self._is_strict and ids is not None:
                    self._watchers.say_stored(job_id, True)
            if self._is_strict:
                self._stored_changed.notify_all()
                self._end_stored_waiters()

    def note_parted(self, job_id: str, parts: Sequence[tuple[str, int, str]], order: Sequence[int]) -> None:
        """
        Note that a job went from the spill file into the queue as several jobs, or as it is. May be repeated.

        Args:
            job_id: The job.
            parts: Id, events and epoch of each job that took its place.
            order: The places that the events had in the job, in the order that they have now.
        """
        with self._lock:
            self._finish()
            job = self._open.get(job_id)
            if job is not None and [part for part, _, _ in parts] != [job_id] and len(order) == job.events:
                for waiter in list(self._waiters):
                    waiter.take_in(job.first, job.events)  # a part may hold events from both sides of its cut
                self._remade = Remade.of_parts(job_id, job, parts, self._unstored, self._watchers, order)
                self._finish()
            for part, _, epoch in parts:
                self.note_moved([part], epoch)
            self.note_moved([job_id] if job_id in self._spilled else [], parts[0][2])

    def forget_stored(self) -> None:
        """Note that another queue takes the place of the one that held the open jobs: it has none of them yet."""
        with self._lock:
            self._finish()
            self._unstored = dict(sorted(self._open.items(), key=itemgetter(1)))

    # -- the way out -----------------------------------------------------------------------------------------------

    def settle(
        self,
        job_id: str,
        error: DeliveryError | None = None,
        indices: Sequence[int] | None = None,
        *,
        purged: Sequence[int] = (),
        lost_as: str = "emptied",
    ) -> int:
        """
        Note the end of a job: delivered, but for the events at *indices* (``None``: all) where there is an
        *error*, and for those that were erased before, at *purged*. Events that are lost are counted under *lost_as*,
        but for those that were purged.

        Return how many events that settled: 0 when the job is not ours or was settled before.
        """
        with self._lock:
            self._finish()
            job = self._open.get(job_id)
            if job is None:
                return 0
            failed: Iterable[int] = ()
            if error is not None:
                failed = range(job.events) if indices is None else indices
            ends: dict[int, DeliveryError] = dict.fromkeys(failed, error) if error is not None else {}
            if purged:  # perhaps after it had failed
                ends.update(dict.fromkeys(purged, DeliveryError(PURGED.error, PURGED.reason)))
            self._end = End(
                job_id,
                job,
                self._account.add(job.events, ends, lost_as),
                [(waiter, waiter.after(job.first, job.events, ends)) for waiter in list(self._waiters)],
                is_stored=self._is_known_stored(job_id, error),
                calls=self._watchers.find_calls(job.numbers, ends),
            )
            self._finish()
        return job.events

    def _is_known_stored(self, job_id: str, error: DeliveryError | None) -> bool | None:
        if error is not None and error.reason in ("lost", "purged"):
            return False
        awaits_replicas = self._is_strict and (job_id in self._unstored or job_id in self._spilled)
        return None if awaits_replicas else True

    def _finish(self) -> None:
        """Carry out what is noted. Every step bears repeating, but for the last, which is one call of C."""
        if (remade := self._remade) is not None:
            self._finish_remaking(remade)
        end = self._end
        if end is None:
            return
        self._account = end.account
        self._open.pop(end.job_id, None)
        self._unstored.pop(end.job_id, None)
        self._spilled.pop(end.job_id, None)
        if end.is_stored is not None:
            self._watchers.say_stored(end.job_id, end.is_stored)
        self._watchers.forget(end.job.numbers if end.calls is not None else range(0))
        self._stored_changed.notify_all()
        for waiter, seen in end.seen:
            if self._end is not end:  # a destructor has interrupted us, and what it called has done it all
                return
            waiter.seen = seen
            if not seen.remaining and not waiter.is_over:
                waiter.end()
        self._end_stored_waiters()
        if self._end is not end:
            return
        if end.calls is not None:
            self._end = self._put_calls(end.calls)
            self._on_calls()
        self._end = None

    def unfollow(self, limit: int = MAX_FOLLOWED) -> int:
        """
        Learn no more of the oldest stored jobs beyond *limit*, where no callback waits: memory must not grow with the backlog.

        Their events stay counted as stored. Return how many jobs that were.
        """
        with self._lock:
            self._finish()
            doomed = list(islice(self._find_unwatched(), max(len(self._open) - limit, 0)))
            for job_id, job in doomed:
                account = self._account._replace(unfollowed=self._account.unfollowed + job.events)
                seen = [
                    (
                        waiter,
                        waiter.after(job.first, job.events, ())._replace(delivered=waiter.seen.delivered),
                    )
                    for waiter in list(self._waiters)
                ]
                self._end = End(job_id, job, account, seen, is_stored=True)
                self._finish()
            return len(doomed)

    def _find_unwatched(self) -> Iterator[tuple[str, OpenJob]]:
        for job_id, job in self._open.items():
            is_in_queue = job_id not in self._unstored and job_id not in self._spilled
            if is_in_queue and not self._watchers.has_callback(job.numbers):
                yield job_id, job

    # -- waiting ---------------------------------------------------------------------------------------------------

    def open_waiter(self, cut: int, *, until_stored: bool = False) -> Waiter:
        """Return a waiter for every unsettled event numbered below *cut*. It counts for as long as its caller holds it."""
        with self._lock:
            self._finish()
            remaining = max(0, cut - self._batched)
            for job in self._open.values():
                remaining += max(0, min(job.first + job.events, cut) - job.first)
            waiter = Waiter(cut, remaining, until_stored=until_stored)
            self._waiters.add(waiter)
            if self._ended or not remaining or (until_stored and self._count_stored() >= cut):
                waiter.end()
            return waiter

    def close_waiter(self, waiter: Waiter) -> FlushResult:
        """Stop counting for *waiter* and return what it counted."""
        with self._lock:
            self._finish()
            self._waiters.discard(waiter)
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
            self._finish()
            doomed = list(self._open if stored_too else self._unstored)
        lost_as = "undelivered" if stored_too else "unstored"
        return sum(self.settle(job_id, error, lost_as=lost_as) for job_id in doomed)

    def release_waiters(self) -> None:
        """End every wait: nothing will be settled any more."""
        with self._lock:
            self._finish()
            self._ended = True
            for waiter in list(self._waiters):
                waiter.end()
            self._watchers.end_stored_calls()
            self._stored_changed.notify_all()

    def await_stored(self, upto: int, timeout: float | None) -> bool:
        """
        Wait until every event numbered below *upto* is in the queue (or beyond). Return whether it came to that.

        For our threads only: an exception of the host's must not come amid a wait for a condition.
        """
        with self._stored_changed:
            self._stored_changed.wait_for(lambda: self._ended or self._count_stored() >= upto, timeout)
            return self._count_stored() >= upto

    def count_unstored(self, cut: int) -> int:
        """Return how many events numbered below *cut* only memory holds. Behind one of these, others may be stored."""
        with self._lock:
            self._finish()
            spilled = [self._open[job_id] for job_id in self._spilled] if self._is_strict else []
            jobs = [*self._unstored.values(), *spilled]
            unstored = sum(max(0, min(job.first + job.events, cut) - job.first) for job in jobs)
            return unstored + max(0, cut - self._batched)

    def _count_stored(self) -> int:
        first = self._batched
        for job in self._unstored.values():
            first = job.first
            break
        if self._is_strict:  # a partition's jobs may be in the file, and earlier ones in memory
            return min([first, *(self._open[job_id].first for job_id in self._spilled)])
        return first

    # -- looking -----------------------------------------------------------------------------------------------------

    def stale_jobs(self, older_than: float, limit: int) -> list[str]:
        """Return up to *limit* stored jobs that are open for *older_than* seconds, oldest first, and put them last."""
        horizon = time.monotonic() - older_than
        with self._lock:
            self._finish()
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
            self._finish()
            account = self._account
            unstored = sum(job.events for job in self._unstored.values())
            stored = self._batched - (account.events - account.unfollowed) - unstored
            spilled = sum(self._open[job_id].events for job_id in self._spilled if job_id in self._open)
            return LedgerCounts(
                account.delivered,
                account.failed,
                account.lost,
                stored,
                spilled,
                dict(account.failed_reasons),
                dict(account.lost_reasons),
                account.unfollowed,
            )

    def audit(self) -> Audit:
        """Count the open jobs again. Tests do so after each test."""
        with self._lock:
            counts = self.counts()
            held = sum(job.events for job in self._open.values())
            unstored = sum(self._open[job_id].events for job_id in self._unstored if job_id in self._open)
            spilled = sum(
                self._open[job_id].events if job_id in self._open else 1 for job_id in self._spilled
            )
            return Audit(counts, self._batched, held, held - unstored, spilled)

    @property
    def stored(self) -> int:
        """Every event with a lower number is in the queue, or was."""
        with self._lock:
            self._finish()
            return self._count_stored()

    @property
    def open_events(self) -> int:
        """Events of jobs that are not settled."""
        with self._lock:
            return self._batched - self._account.events

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
        return bool(self._waiters) or self._watchers.has_callbacks
