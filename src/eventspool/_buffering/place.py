"""
Where batches go: into the queue or, while it is not available, into the spill file.

Of a queue of several partitions with order per user, one may be away by itself. Then its jobs alone go into the file, and
behind them its later ones. The other partitions' go on to the queue: no user has events in two of them, until the queue is
divided anew. What an earlier process has left in the file may be of any partition, so then all jobs go behind it.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from eventspool._buffering.spill import is_spill_due
from eventspool._exceptions import QueueError
from eventspool._guest.log import Log
from eventspool._guest.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from eventspool._backends import Backend
    from eventspool._buffering.buffer import Buffer
    from eventspool._buffering.spill import Spill
    from eventspool._job import CommitResult, NewJob
    from eventspool._routing import Route, Routing

__all__ = ["Place"]

_log = Log("eventspool")

_FILE_PAUSE = 1.0
"""Seconds for which a file that could not be written is left alone."""


class Place:
    """
    Chooses between queue and file.

    Args:
        backend: The queue.
        spill: The file, or ``None``.
        buffer: What memory holds decides when the file is due.
        capacity: Events that memory may hold.
    """

    def __init__(self, backend: Backend, spill: Spill | None, buffer: Buffer, capacity: int) -> None:
        self.backend = backend
        self.spill = spill
        self.is_leaving = False
        """The client closes: from now on nothing waits in memory for the end of an outage."""
        self.away: Mapping[Route, float] = {}
        """Partitions that cannot be reached, and since when, of those that jobs wait for."""
        self._filed: frozenset[Route] | None = None  # whose jobs the file holds; None: anybody's
        self._buffer = buffer
        self._capacity = capacity
        self._opened: Backend | None = None
        self._away_since: float | None = (
            None  # the queue has not answered since then, and no file took its place
        )
        self._file_retry_at = 0.0
        self._throttle = Throttle(_log)

    def switch(self, backend: Backend, spill: Spill | None) -> None:
        """Go to this queue, and to this file, from now on."""
        self.backend = backend
        self.spill = spill

    @property
    def name(self) -> str:
        """Where batches go now, in words."""
        return "the spill file" if self.spill is not None and self.spill.is_active else "the queue"

    @property
    def may_spill(self) -> bool:
        """An outage goes on, and there is a file for it."""
        return self.spill is not None and (self._away_since is not None or bool(self.away))

    @property
    def is_spill_due(self) -> bool:
        """It is time for the file, for all jobs or for those of a partition."""
        return self._is_due(self._away_since) or any(map(self._is_due, self.away.values()))

    def _is_due(self, away_since: float | None) -> bool:
        now = time.monotonic()
        if self.spill is None or away_since is None or now < self._file_retry_at:
            return False
        return is_spill_due(now - away_since, self._buffer.held, self._capacity, leaving=self.is_leaving)

    def is_filing(self, route: Route | None = None) -> bool:
        """What is committed now for the partition *route* goes into the file; where it has none, what is for any partition."""
        if self.spill is None:
            return False
        if not self.spill.is_active:
            return self._may_begin(route)
        return self._holds(route) or self._may_begin(route)

    @property
    def is_silent(self) -> bool:
        """The queue does not answer, and the file takes what is to be stored: nobody must wait for the queue."""
        if self.spill is None:
            return False
        return self.spill.is_away if self.spill.is_active else self._is_due(self._away_since)

    def _may_begin(self, route: Route | None) -> bool:
        return self._is_due(self._away_since) or (route is not None and self._is_due(self.away.get(route)))

    def _holds(self, route: Route | None) -> bool:
        """Say whether something in the file may be of the same user as a job for *route*."""
        filed = self._filed
        if filed is None or route is None or route in filed:
            return True
        return any(each.generation != route.generation for each in filed)

    def find_routing(self) -> Routing | None:
        """Return how the queue is divided, where it keeps the order per user. Raises ``QueueError``."""
        began = time.monotonic()
        try:
            return self.backend.find_routing()
        except QueueError:
            self._note_outage(began)
            raise

    def commit(self, jobs: list[NewJob]) -> tuple[CommitResult, bool]:
        """Store *jobs*, which are of one partition. Return the result, and whether it is the file's. Raises ``QueueError``."""
        result = self._spill(jobs)
        if result is not None:
            return result, True
        began = time.monotonic()
        try:
            result = self.backend.commit(jobs)
        except QueueError:
            self._note_outage(began)
            raise
        self._away_since = None
        return result, False

    def note_partition(self) -> None:
        """Note that it was one partition of several that did not answer, and not the queue."""
        self._away_since = None

    def _spill(self, jobs: list[NewJob]) -> CommitResult | None:
        """Store *jobs* in the file. Return ``None`` where they are for the queue."""
        spill, route = self.spill, jobs[0].route
        if spill is None or not self.is_filing(route):
            return None
        # First: should this be cut off, what is in the file is known all the same.
        if not spill.is_active:
            self._filed = None if route is None else frozenset({route})
        elif self._filed is not None:
            self._filed = None if route is None else self._filed | {route}
        try:
            result = spill.commit(jobs, begin=self._may_begin(route))
        except QueueError as error:
            if spill.is_active and not spill.is_broken:
                raise  # the mover can read the file: nothing may overtake what is in there
            self._file_retry_at = time.monotonic() + _FILE_PAUSE
            self._warn(error)
            return None
        self._away_since = None
        return result

    def open(self) -> None:
        """Open the queue once: commits do without, but it warns of what storage is like."""
        if self._opened is not self.backend:
            self._opened = self.backend
            with contextlib.suppress(QueueError):
                self.backend.open()

    def look_into_file(self, now: float) -> None:
        """Have what an earlier process left in the file moved."""
        if self.spill is not None:
            if not self.spill.is_active:
                self._filed = None
            try:
                self.spill.look(now)
            except QueueError as error:
                self._warn(error)

    def rescue(self, jobs: list[NewJob], at_once: int) -> None:
        """Put *jobs* into the file, whatever the queue does, *at_once* with each commit."""
        if self.spill is None:
            return
        try:
            for at in range(0, len(jobs), at_once):
                self.spill.commit(jobs[at : at + at_once], begin=True)
        except QueueError as error:
            self._warn(error)

    @contextlib.contextmanager
    def noting_outages(self) -> Iterator[None]:
        """Enter this around a call of the queue."""
        began = time.monotonic()
        try:
            yield
        except QueueError:
            self._note_outage(began)
            raise
        self._away_since = None

    def _note_outage(self, began: float) -> None:
        if self._away_since is None:
            self._away_since = began

    def _warn(self, error: QueueError) -> None:
        self._throttle.warning("the spill file cannot be used (%s)", error)
