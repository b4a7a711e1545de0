"""The flushes that are under way: each waits for what was accepted before it, and says what became of that."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from eventspool._guest.executor import carry_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._guest.calls import CallQueue
    from eventspool._settling.ledger import Ledger
    from eventspool._settling.reporting import Reporter
    from eventspool._settling.waiter import FlushResult, Waiter

__all__ = ["Flushes"]


class Flushes:
    """
    Opens and closes the flushes of one pipeline. Its methods are for threads of ours.

    Args:
        ledger: Counts what is settled.
        callbacks: The thread on which a flush calls back.
        reporter: Knows why events were last given up.
        count_accepted: Returns how many events were ever accepted, and notes that a flush waits for these.
        hasten: Has every event numbered below its argument go into the queue now.
        explain: Says why events numbered below its argument are pending.
    """

    def __init__(
        self,
        ledger: Ledger,
        callbacks: CallQueue,
        reporter: Reporter,
        *,
        count_accepted: Callable[[], int],
        hasten: Callable[[int], object],
        explain: Callable[[int], str],
    ) -> None:
        self._ledger = ledger
        self._callbacks = callbacks
        self._reporter = reporter
        self._count_accepted = count_accepted
        self._hasten = hasten
        self._explain = explain
        self._watched: set[Waiter] = set()  # of flushes with a callback: nothing else holds these

    def open(self, until: str) -> Waiter:
        """Return a waiter for every event accepted so far: until it is delivered (or, ``persisted``, stored)."""
        accepted = self._count_accepted()
        waiter = self._ledger.open_waiter(accepted, until_stored=until == "persisted")
        self._hasten(accepted)
        return waiter

    def close(self, waiter: Waiter) -> FlushResult:
        """Return what became of the events of *waiter*."""
        self._watched.discard(waiter)
        result = self._ledger.close_waiter(waiter)
        pending = result.pending
        if waiter.until_stored:
            pending = min(pending, self._ledger.count_unstored(waiter.cut))
        reason = ""
        if pending:
            reason = self._explain(waiter.cut)
        elif result.failed:
            reason = self._reporter.last_failure
        return replace(result, pending=pending, reason=reason)

    def call_back(
        self,
        until: str,
        timeout: float | None,
        callback: Callable[[Exception | None, FlushResult], object],
    ) -> None:
        """Have *callback* called once when the flush is over, or after *timeout* seconds."""
        accepted = self._count_accepted()
        told = False
        forget_timeout: Callable[[], None] = lambda: None  # noqa: E731

        def tell() -> None:  # on the thread of the callbacks, which holds no lock of ours
            nonlocal told
            if told:
                return
            try:
                result = carry_out(self.close, waiter)
                forget_timeout()
            except BaseException:
                end()  # it is called once more
                raise
            told = True
            self._reporter.finish(callback(None, result))

        def end() -> None:
            self._callbacks.submit(tell)

        waiter = self._ledger.open_waiter(accepted, until_stored=until == "persisted")
        self._watched.add(waiter)
        waiter.on_end = end
        if waiter.is_over:  # it was over before it had anything to call
            end()
        self._hasten(accepted)
        if timeout is not None:
            forget_timeout = self._callbacks.submit_at(time.monotonic() + timeout, tell)
            if told:
                forget_timeout()
