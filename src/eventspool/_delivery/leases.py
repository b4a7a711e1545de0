"""The leases of one dispatcher: how they are taken, kept and given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._backends.rules import QUEUE_LEASE
from eventspool._claim import ClaimTerms, new_token
from eventspool._config import Ordering
from eventspool._exceptions import QueueError, QueueUnavailable
from eventspool._guest.log import Log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._backends import Backend
    from eventspool._claim import Claim

__all__ = ["Leases"]

_log = Log("eventspool")

HEARTBEAT_INTERVAL = 2.0
"""Seconds between two notes to those who watch a shared queue."""
_LONGEST_INTERVAL = 10.0


class Leases:
    """
    Leases jobs of a queue.

    Args:
        backend: The queue.
        seconds: How long a lease lasts.
        ordering: Whether order is kept: then the queue is leased as a whole.
        events_per_second: Most events that all processors of the queue are handed out.
    """

    def __init__(
        self, backend: Backend, seconds: float, ordering: Ordering, events_per_second: float | None = None
    ) -> None:
        self.token = new_token()
        """The name under which jobs are leased."""
        self.are_unheard = False
        """A claim may have leased jobs to us that we do not know of."""
        self._backend = backend
        self._seconds = seconds
        self._keeps_lanes = ordering is Ordering.PER_USER
        self._rate = events_per_second
        lease = min(seconds, QUEUE_LEASE) if ordering is Ordering.FIFO else seconds
        self.interval = min(lease / 3, _LONGEST_INTERVAL)
        """Seconds between two renewals."""
        if backend.shared:
            self.interval = min(self.interval, HEARTBEAT_INTERVAL)

    def claim(
        self,
        limit: int,
        max_bytes: int | None,
        *,
        probe: bool,
        chain: int = 1,
        chain_bytes: int | None = None,
    ) -> Claim:
        """
        Lease jobs: at most *limit*, of at most *max_bytes* together, but one in any case.

        Where the order per user is kept, up to *chain* of them, of *chain_bytes* or so, may be behind one another in a lane.

        They are unheard of until the caller has dealt with them. Raises ``QueueError``.
        """
        self.are_unheard = True
        try:
            return self._backend.claim(
                self.token,
                ClaimTerms(
                    limit=limit,
                    max_bytes=max_bytes,
                    visibility_timeout=self._seconds,
                    probe=probe,
                    chain=chain if self._keeps_lanes else 1,
                    chain_bytes=chain_bytes,
                    events_per_second=self._rate,
                ),
            )
        except QueueError as error:
            # Where waiting will not help, the leases stay, and cost an attempt: one of these jobs may be what it comes from.
            self.are_unheard = isinstance(error, QueueUnavailable)
            raise

    def renew(self, held: Sequence[str], note: str) -> None:
        """Renew the leases of *held*, and leave a note. A lost lease matters not: its stale holder can only acknowledge."""
        self._backend.renew(self.token, held, visibility_timeout=self._seconds, note=note)

    def repair(self) -> None:
        """Have the queue look for jobs that stand in no index."""
        if found := self._backend.repair():
            _log.warning("%d stored batches stood in no index; they are queued again", found)

    def forget_unheard(self) -> None:
        """Give every lease back. Only where no known job is leased: its lease would go, too."""
        self._backend.leave(self.token)
        self.are_unheard = False

    def leave(self) -> None:
        """Give every lease back at the end."""
        try:
            self._backend.leave(self.token)
        except QueueError:
            _log.warning("leases could not be given back; they run out by themselves")
