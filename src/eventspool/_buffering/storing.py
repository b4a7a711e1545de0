"""
Has the jobs that wait stored, and says what became of them. Of a queue with several partitions, each may take its jobs, be
full or away, or belong to an older division of the queue.

Each step bears repeating: an exception may cut it off at any line.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from eventspool._buffering.outbox import FULL_PAUSE
from eventspool._exceptions import QueueError
from eventspool._guest.log import Log
from eventspool._guest.throttle import Throttle
from eventspool._job import CommitResult, Failure
from eventspool._retry import system_random as random

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eventspool._buffering.maker import Maker
    from eventspool._buffering.outbox import Outbox
    from eventspool._buffering.place import Place
    from eventspool._job import NewJob
    from eventspool._routing import Route, Routing
    from eventspool._settling.ledger import Ledger

__all__ = ["JOBS_PER_COMMIT", "Storing"]

_log = Log("eventspool")

JOBS_PER_COMMIT = 8
_DIVISION_POLL = 0.05
"""Seconds between two looks at how the queue is divided anew."""


class Storing:
    """
    Stores what is in *outbox*.

    Args:
        outbox: The jobs.
        maker: Makes jobs anew that were made for another division of the queue.
        place: Where they go.
        ledger: Told of every job that is stored.
        on_stored: Called after each commit.
        on_lookup: Called with what becomes of jobs that never fit into the queue.
    """

    def __init__(
        self,
        outbox: Outbox,
        maker: Maker,
        place: Place,
        ledger: Ledger,
        *,
        on_stored: Callable[[], object],
        on_lookup: Callable[[list[str], Mapping[str, Failure | None]], object],
    ) -> None:
        self._outbox = outbox
        self._maker = maker
        self._place = place
        self._ledger = ledger
        self._on_stored = on_stored
        self._on_lookup = on_lookup
        self._throttle = Throttle(_log)
        self.is_unrouted = False
        """It is not known how the queue is divided, and so no job can be made."""
        self.refusal = ""
        """Why some jobs were not stored by the last commit, in words of ours."""
        self.retry_at = 0.0
        """The moment at which a queue that was full is tried again."""

    def learn_routing(self) -> Routing | None:
        """
        Find out how the queue is divided. While the spill file takes everything, the queue is not waited for.

        Raises:
            QueueError: The queue does not say.
        """
        self.is_unrouted = not self._place.is_silent
        if not self.is_unrouted:
            return self._maker.routing
        routing = self._maker.routing = self._place.find_routing()
        self.is_unrouted = False
        return routing

    def commit(self) -> None:
        """Store what may go now. Raises ``QueueError`` where the queue cannot be reached."""
        self.refusal = ""
        while group := self._outbox.next_group(time.monotonic(), JOBS_PER_COMMIT, self._place.is_filing):
            if not self._store(group):
                return
            self._place.away = self._outbox.away

    def _store(self, group: list[NewJob]) -> bool:
        """Commit *group* and take it out of the outbox. Return whether there is to be another one."""
        routing, route = self._maker.routing, group[0].route
        if routing is not None and route is None and not self._place.is_silent:
            self._maker.make_anew(group, routing)  # the queue before kept no order per user
            return True
        try:
            result, spilled = self._place.commit(group)
        except QueueError as error:
            if route is None or routing is None or routing.partitions == 1:
                raise
            self._note_partition(group, route, error)
            return True
        # What the file can never take waits for the queue.
        impossible = set() if spilled else set(result.impossible)
        left = {*result.rejected, *result.impossible, *result.stale, *result.away} - impossible
        done = [job for job in group if job.id not in left] if left else group
        if done:
            if impossible:
                self._give_up([job for job in done if job.id in impossible])
            ids = [job.id for job in done]
            if not spilled:
                self._ledger.note_stored(ids, result.epoch)
            self._outbox.take_off(ids)
            self._on_stored()
            if not spilled:
                self._place.open()
        if route is None:
            if left:
                self.refusal = _full(self._place.name, result)
                self.retry_at = time.monotonic() + FULL_PAUSE
            return not left
        self._note_result(group, route, result, spilled=spilled)
        return True

    def _note_partition(self, group: list[NewJob], route: Route, error: QueueError) -> None:
        """Note that a partition, or the file in its place, has not taken *group*: the others' jobs go on."""
        now = time.monotonic()
        self.refusal = str(error)
        if self._place.is_filing(route):
            self._outbox.note_file(route, now, has_room=False)
        else:
            self._place.note_partition()
            away = CommitResult(0, away=tuple(job.id for job in group))
            self._outbox.note(group, away, now, random.random())

    def _note_result(self, group: list[NewJob], route: Route, result: CommitResult, *, spilled: bool) -> None:
        """Note what a partition, or the file in its place, has not taken of *group*."""
        now = time.monotonic()
        if spilled:
            has_room = not (result.rejected or result.impossible)
            self._outbox.note_file(route, now, has_room=has_room)
            if not has_room:
                self.refusal = "the spill file is full"
            return
        self._outbox.note(group, result, now, random.random())
        if result.away:
            self.refusal = "a partition of the queue cannot be reached"
        elif result.rejected:
            self.refusal = _full("a partition of the queue", result)
        if result.stale:
            self._make_anew([job for job in group if job.id in result.stale])

    def _make_anew(self, jobs: list[NewJob]) -> None:
        """Make *jobs* for the present division of the queue, once that is known."""
        self.learn_routing()
        routing, route = self._maker.routing, jobs[0].route
        if routing is not None and route is not None and routing.generation != route.generation:
            self._maker.make_anew(jobs, routing)
        elif route is not None:
            self._outbox.hold_up(route, time.monotonic() + _DIVISION_POLL)
            self.refusal = "the queue is being divided into other partitions"

    def _give_up(self, jobs: list[NewJob]) -> None:
        """Settle batches that the queue can never take, not even when it is empty."""
        for job in jobs:
            error = f"the queue can hold no batch of {len(job.payload):,} bytes: raise max_bytes, or the server's limit"
            self._throttle.error("%s; its %d events are given up", error, job.events)
            failure = Failure("too_large", error, job.events, payload=job.payload)
            self._on_lookup([job.id], {job.id: failure})


def _full(name: str, result: CommitResult) -> str:
    """Say that there is no room, and why, where that is not the affair of the options."""
    return f"{name} is full: {result.advice}" if result.advice else f"{name} is full"
