"""What sends one job after another. It decides nothing: it reports what it has learnt to the dispatcher."""

from __future__ import annotations

import contextlib
import queue
import time
from typing import TYPE_CHECKING

from eventspool._delivery.attempt import Outcome, deliver

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._delivery.exchange import Exchange
    from eventspool._delivery.transport import Transport
    from eventspool._job import ClaimedJob

__all__ = ["Sender"]


class Sender:
    """
    Sends jobs. A request blocks its turn, for as long as the transport's timeout allows.

    Args:
        exchange: Where jobs come from, and outcomes go.
        transport: The way to the data plane.
        gzip: Compress bodies.
        on_attempt: Told of each attempt: when it began and ended, in seconds since the epoch. Must not raise.
    """

    def __init__(
        self,
        exchange: Exchange,
        transport: Transport,
        *,
        gzip: bool,
        on_attempt: Callable[[ClaimedJob, Outcome, float, float], object] = lambda *_: None,
    ) -> None:
        self._exchange = exchange
        self._transport = transport
        self._gzip = gzip
        self._on_attempt = on_attempt
        self.job: ClaimedJob | None = None
        """What it is sending. For any thread."""

    def patience(self, now: float) -> None:
        """Return ``None``: nothing is due before the dispatcher hands a job out."""

    def wait(self, patience: float | None) -> bool:
        """Take a job; the same once more where a turn was cut off. Return whether there is one."""
        if self.job is None and not self._exchange.ended.is_set():
            with contextlib.suppress(queue.Empty):
                self.job = self._exchange.jobs.get(timeout=patience)
        return self.job is not None

    def turn(self, now: float) -> bool:  # noqa: ARG002 - as every loop is told
        """Send the job that was taken. Return whether more may come."""
        if self.job is None:
            return not self._exchange.ended.is_set()
        self._exchange.report(self._send(self.job))
        self.job = None
        return True

    def _send(self, job: ClaimedJob) -> Outcome:
        exchange = self._exchange
        if exchange.is_held_up:
            return Outcome(job.id, counts=False, interrupted=True, progress=job.progress)
        began_at = time.time()
        outcome = deliver(job, self._transport, gzip=self._gzip, is_stopping=lambda: exchange.is_stopping)
        self._on_attempt(job, outcome, began_at, time.time())
        return outcome
