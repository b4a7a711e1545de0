"""What sends one parcel of jobs after another. It decides nothing: it reports what it has learnt to the dispatcher."""

from __future__ import annotations

import contextlib
import queue
import time
from typing import TYPE_CHECKING

from eventspool._delivery.sharing import deliver_together, give_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eventspool._claim import ClaimedJob
    from eventspool._delivery.attempt import Outcome
    from eventspool._delivery.exchange import Exchange
    from eventspool._delivery.parcel import Parcel
    from eventspool._delivery.sharing import Report
    from eventspool._delivery.transport import Transport

__all__ = ["Sender"]


class Sender:
    """
    Sends parcels. A request blocks its turn, for as long as the transport's timeout allows.

    Args:
        exchange: Where parcels come from, and reports go.
        transport: The way to the data plane.
        gzip: Compress bodies.
        on_attempt: Told of each attempt at each job: when it began and ended, in seconds since the epoch. Must not raise.
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
        self.parcel: Parcel | None = None
        """What it is sending. For any thread."""

    def patience(self, now: float) -> None:
        """Return ``None``: nothing is due before the dispatcher hands a parcel out."""

    def wait(self, patience: float | None) -> bool:
        """Take a parcel; the same once more where a turn was cut off. Return whether there is one."""
        if self.parcel is None and not self._exchange.ended.is_set():
            with contextlib.suppress(queue.Empty):
                self.parcel = self._exchange.parcels.get(timeout=patience)
        return self.parcel is not None

    def turn(self, now: float) -> bool:  # noqa: ARG002 - as every loop is told
        """Send the parcel that was taken. Return whether more may come."""
        if self.parcel is None:
            return not self._exchange.ended.is_set()
        for report in self._send(self.parcel):
            self._exchange.report(report)
        self.parcel = None
        return True

    def _send(self, parcel: Parcel) -> Iterator[Report]:
        exchange = self._exchange
        if exchange.is_held_up:
            yield give_back(parcel.jobs)
            return
        jobs = {job.id: job for job in parcel.jobs}
        began_at = time.time()
        for report in deliver_together(
            parcel.jobs, self._transport, gzip=self._gzip, is_stopping=lambda: exchange.is_stopping
        ):
            ended_at = time.time()
            for outcome in report.outcomes:
                self._on_attempt(jobs[outcome.job_id], outcome, began_at, ended_at)
            yield report
            began_at = ended_at
