"""
The circuit breaker between the queue and a data plane that is down. Pure: time and randomness come in as
arguments.

*Closed*, jobs flow. After ``threshold`` failures in a row, or one answer that says how long to stay away, or
a refused write key, it *opens*: no job is claimed, so none burns an attempt. Then one **probe** at a time is
let through, spaced by the same backoff options, on the job with the fewest attempts, which spreads the
attempts of a long outage over all jobs and keeps one poisonous batch from looking like an outage. The first
success closes it.
"""

from __future__ import annotations

import enum

from eventspool._retry import backoff_bound

__all__ = ["Breaker", "Permission"]


class Permission(enum.Enum):
    """What may be sent now."""

    FLOW = "flow"
    PROBE = "probe"
    HOLD = "hold"


class Breaker:
    """
    One breaker per processor; not thread-safe, the processor's own thread uses it.

    Args:
        backoff_initial: Bound of the first pause, in seconds.
        backoff_max: Largest pause, in seconds.
        threshold: Failures in a row that open it.
    """

    def __init__(self, *, backoff_initial: float, backoff_max: float, threshold: int = 5) -> None:
        self._initial = backoff_initial
        self._maximum = backoff_max
        self._threshold = threshold
        self._failures = 0
        self._probes_failed = 0
        self._probing = False
        self._away_until = 0.0
        self.is_open = False
        self.opens_until = 0.0
        """While open: the monotonic time of the next probe."""

    def permission(self, now: float) -> Permission:
        """Say what may be sent at *now* (monotonic seconds)."""
        if not self.is_open:
            return Permission.FLOW
        if self._probing or now < self.opens_until:
            return Permission.HOLD
        return Permission.PROBE

    def begin_probe(self) -> None:
        """Note that the one probe is on its way."""
        self._probing = True

    def cancel_probe(self) -> None:
        """Note that the probe ended without an answer: there was no job to send, or it was taken back."""
        self._probing = False

    def record_success(self, now: float, *, probe: bool) -> None:
        """
        Note that the data plane answered as one that works.

        Args:
            now: Monotonic seconds.
            probe: It was the probe. A request from before does not end the time that the data plane asked for.
        """
        if self.is_open and not probe and now < self._away_until:
            return
        self._failures = self._probes_failed = 0
        self._probing = self.is_open = False

    def record_failure(
        self,
        now: float,
        jitter: float,
        *,
        probe: bool,
        retry_after: float | None = None,
        unauthorized: bool = False,
    ) -> None:
        """
        Note a failed request.

        Args:
            now: Monotonic seconds.
            jitter: A uniform draw from [0, 1).
            probe: It was the probe.
            retry_after: Seconds that the data plane asked for.
            unauthorized: It refused the write key.
        """
        self._failures += 1
        if retry_after:
            self._away_until = max(self._away_until, now + retry_after)
        if probe:
            self._probing = False
            self._probes_failed += 1
        elif self.is_open:  # a request from before the breaker opened: it says nothing new
            self.opens_until = max(self.opens_until, self._away_until)
            return
        if self.is_open or unauthorized or retry_after or self._failures >= self._threshold:
            self.is_open = True
            # Probes are spaced by the whole bound, a little stretched so that a fleet does not march in step.
            pause = backoff_bound(self._probes_failed + 1, self._initial, self._maximum) * (1 + jitter / 4)
            self.opens_until = max(now + pause, self._away_until)
