"""
The ends of leases that the queue has not recorded yet.

What was delivered is never sent again by this process, even when the queue cannot be told: the acknowledgement is kept, and
repeated until it is recorded.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from eventspool._delivery.givenup import GivenUp
from eventspool._exceptions import QueueUnavailable
from eventspool._settling.settler import JobEnd

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._backends import Backend
    from eventspool._job import Settlement

__all__ = ["Endings"]

_PAUSE: Final = 1.0
"""Seconds after which the queue is asked again what became of a job that it could not tell of."""


class Endings:
    """
    Keeps how leases ended, and records it. One thread's own, but for ``deal_with``.

    Args:
        backend: The queue.
        token: The processor's.
        on_settled: Told how each job ended: of a delivery at once, of a failure when it is recorded.
    """

    def __init__(self, backend: Backend, token: str, on_settled: Callable[[JobEnd], object]) -> None:
        self._backend = backend
        self._token = token
        self._on_settled = on_settled
        self.given_up = GivenUp()
        """What is to be logged of jobs that have failed."""
        self.acks: dict[str, None] = {}
        """Jobs that were delivered, in that order."""
        self.settlements: dict[str, Settlement] = {}
        """Jobs that were not, by id."""
        self._untold: list[tuple[Settlement, bool]] = []
        """What the queue has recorded, or refused to, and *on_settled* does not know yet."""
        self._asks_from = float("-inf")  # until then, the queue is not asked again what it could not tell

    @property
    def are_urgent(self) -> bool:
        """Something else than deliveries is to be recorded, or told: that does not wait for more of the kind."""
        return bool(self.settlements) or (bool(self._untold) and time.monotonic() >= self._asks_from)

    def deal_with(self, job_id: str) -> bool:
        """Return whether *on_settled* is yet to be told that this job failed. For any thread."""
        return job_id in self.settlements or any(
            settlement.job_id == job_id for settlement, _ in list(self._untold)
        )

    def add_delivery(self, job_id: str, purged: tuple[int, ...]) -> None:
        """Note that a job was delivered, but for the events at *purged*. Bears repeating."""
        self.acks[job_id] = None
        self._on_settled(JobEnd(job_id, purged=purged, is_recorded=False))

    def add(self, settlement: Settlement) -> None:
        """Note how the lease of a job ends that was not delivered. Bears repeating."""
        self.settlements[settlement.job_id] = settlement

    def acknowledge(self) -> None:
        """Tell the queue what was delivered. Raises ``QueueError``: then it is told again with the next call."""
        if self.acks:
            self._backend.ack(list(self.acks))
            self.acks = {}

    def settle(self) -> bool:
        """Tell the queue how the other leases ended. Return whether any did. Raises ``QueueError`` like ``acknowledge``."""
        if not self.settlements:
            return False
        settlements = list(self.settlements.values())
        self._untold += zip(settlements, self._backend.settle(self._token, settlements), strict=True)
        self.settlements = {}
        return True

    def tell(self) -> None:
        """
        Tell *on_settled* which jobs have failed for good.

        What the queue cannot tell of a job, for one of its partitions is away, is asked again a second later. It must not keep
        the jobs of the others from being delivered.
        """
        at = 0
        while at < len(self._untold):
            if self._tell(*self._untold[at]):
                del self._untold[at]
            else:
                at += 1

    def _tell(self, settlement: Settlement, done: bool) -> bool:  # noqa: FBT001
        failure = settlement.failure
        if failure is None:
            return True
        if not done:  # another processor has the job, or we were cut off behind the step: the queue knows
            if time.monotonic() < self._asks_from:
                return False
            try:
                done = self._backend.lookup([settlement.job_id]).get(settlement.job_id) is not None
            except QueueUnavailable:
                self._asks_from = time.monotonic() + _PAUSE
                return False
        if done:
            self._on_settled(JobEnd(settlement.job_id, failure, failure.purged))
            self.given_up.add(failure.reason, failure.events, time.monotonic())
        return True
