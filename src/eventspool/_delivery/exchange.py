"""
What the threads of one processor tell each other: plain values in two queues, and a few events.

Nothing else is shared between them, so there is no lock in the dispatcher's loop, and nothing to get wrong.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventspool._delivery.parcel import Parcel
    from eventspool._delivery.sharing import Report

__all__ = ["Exchange"]


class Exchange:
    """Parcels go from the dispatcher to its senders, reports and wake-ups come back. For any thread."""

    def __init__(self) -> None:
        self.parcels: queue.SimpleQueue[Parcel | None] = queue.SimpleQueue()
        """What the senders are to send. ``None`` wakes one of them at the end."""
        self.reports: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        """What the senders have learnt. ``None`` wakes the dispatcher."""
        self.listening = threading.Event()
        """The dispatcher has nothing to do: the listener is to wait for jobs of other processes."""
        self.ended = threading.Event()
        """The dispatcher has recorded what became of its jobs, and takes no more."""
        self._stopping = threading.Event()
        self._held_up = threading.Event()

    @property
    def is_stopping(self) -> bool:
        """No further request is to begin."""
        return self._stopping.is_set()

    @property
    def is_held_up(self) -> bool:
        """
        The data plane has asked a sender for patience, or has refused the write key.

        Until the dispatcher has heard of it and opened the breaker, senders hand their parcels back instead of sending them.
        """
        return self._held_up.is_set()

    def report(self, report: Report) -> None:
        """Tell the dispatcher what became of jobs."""
        if any(outcome.retry_after or outcome.unauthorized for outcome in report.outcomes):
            self._held_up.set()
        self.reports.put(report)

    def go_on(self) -> None:
        """Let the senders send again."""
        self._held_up.clear()

    def wake(self) -> None:
        """Wake the dispatcher: there is something to claim."""
        self.reports.put(None)

    def rouse(self) -> None:
        """Wake the dispatcher on behalf of another process, which has stored a job. Nothing is listened for meanwhile."""
        self.listening.clear()
        self.wake()

    def stop(self) -> None:
        """Begin no further request."""
        self._stopping.set()
        self.wake()

    def await_stop(self, timeout: float) -> None:
        """Wait at most *timeout* seconds until no further request is to begin."""
        self._stopping.wait(timeout)

    def end(self, senders: int) -> None:
        """End the listener and this number of *senders*. May be called again."""
        self.ended.set()  # first: a sender that is woken looks at it
        self.listening.set()
        for _ in range(senders):
            self.parcels.put(None)

    def take_back(self) -> Iterator[Parcel]:
        """Yield the parcels that no sender has taken, out of the queue."""
        with contextlib.suppress(queue.Empty):
            while (parcel := self.parcels.get_nowait()) is not None:
                yield parcel
