"""Asks the queue what other processes have made of our jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._exceptions import QueueError
from eventspool._guest.log import Log
from eventspool._guest.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eventspool._buffering.place import Place
    from eventspool._job import Failure
    from eventspool._settling.ledger import Ledger

__all__ = ["LookUp"]

_log = Log("eventspool")

_PAUSE = 5.0
"""Seconds between two look-ups, and the age from which a job is looked up."""
_HURRY = 0.25
"""The same while a flush waits."""
_JOBS = 500


class LookUp:
    """
    Looks up jobs that are open for long: another process may have settled them.

    Args:
        ledger: Knows which jobs are open.
        place: Where the queue is.
        on_lookup: Called with the jobs' ids, and what the queue says of them.
    """

    def __init__(
        self,
        ledger: Ledger,
        place: Place,
        on_lookup: Callable[[list[str], Mapping[str, Failure | None]], object],
    ) -> None:
        self._ledger = ledger
        self._place = place
        self._on_lookup = on_lookup
        self._throttle = Throttle(_log)
        self.due_at = 0.0
        """When the next one is due, where there is anything to look up."""

    @property
    def is_needed(self) -> bool:
        """Jobs are open, and other processes may settle them."""
        return bool(self._ledger.open_jobs) and self._place.backend.shared

    def look(self, now: float) -> None:
        """Look up what is due. Raises ``QueueError``, unless a spill file takes commits meanwhile."""
        if now < self.due_at or not self.is_needed:
            return
        try:
            self._look(now)
        except QueueError as error:
            if self._place.spill is None:
                raise
            self._throttle.warning("the queue is not available (%s)", error)

    def _look(self, now: float) -> None:
        ledger, spill = self._ledger, self._place.spill
        hurry = ledger.has_waiters
        self.due_at = now + (_HURRY if hurry else _PAUSE)
        if spill is not None and spill.is_active:
            self.due_at = (
                now + 1.0
            )  # the file's jobs are among the open ones: it takes longer to find the others
            if spill.is_away:
                return  # a commit to the file must not wait for an answer that will not come
        stale = ledger.stale_jobs(2 * _HURRY if hurry else _PAUSE, _JOBS)
        unfinished = 0
        for epoch, ids in ledger.by_epoch(stale).items():
            with self._place.noting_outages():
                standing = self._place.backend.lookup(ids, epoch=epoch)
            self._on_lookup(ids, standing)
            unfinished += sum(failure is None for failure in standing.values())
        if len(stale) == _JOBS and 2 * unfinished <= len(stale):
            self.due_at = (
                now  # others deliver as fast as we produce: go on at once, or the open jobs would only grow
            )
        ledger.unfollow()
