"""
The circuit breaker between the queue and a data plane that is down. Pure: time and randomness come in as
arguments.

While it is *closed*, jobs flow. After ``threshold`` failures in a row, one answer that says how long to stay away, or a
refused write key, it *opens*: no job is claimed, so none burns an attempt. Then one **probe** at a time is let through,
spaced by the same backoff options. The probe is the job with the fewest attempts, so that one poisonous batch does not look
like an outage. The first success closes the breaker.

It also says whether a failure *counts against its job*. A failure does not count where the job has failed ``threshold`` times
already, in this process or another one, and the data plane is thought to be down: the breaker is open, or this process has
heard no good answer of late. So an outage costs a job no more attempts than that, even if it is the only one to probe with.
But only ``EXCUSED`` failures in a row are excused: a lone batch that makes the data plane fail is given up in the end.

Where the queue shares the breaker of all its processors (``_backends.fleet``), that one is *followed* when it is open: the
queue says when the next probe goes out, and whose it is. This breaker then still says which failures count. Where the queue
says that the others are well, this one goes on by itself: the trouble may be this machine's own.
"""

from __future__ import annotations

import enum

from eventspool._retry import backoff_bound

__all__ = ["EXCUSED", "Breaker", "Permission"]

EXCUSED = 100
"""
Failures in a row that count against no job, or as many times the largest pause: with default options, an outage of 50 minutes.
Of many processors each sends few of the probes, but all together try a job.
"""
_PATIENT = 1.0
"""Seconds that the largest pause has at least where failures are excused. An operator who sets less wants to know soon."""


class Permission(enum.Enum):
    """What may be sent now."""

    FLOW = "flow"
    PROBE = "probe"
    HOLD = "hold"


class Breaker:
    """
    One breaker per processor. Only the dispatcher's thread uses it.

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
        self._excused = 0
        self._excused_from = 0.0
        self._well_until = float("-inf")  # until then, the last good answer says that the data plane works
        self.is_open = False
        self.is_followed = False
        """The queue says when the next probe goes out, and whose it is."""
        self.opens_until = 0.0
        """While open: the monotonic time of the next probe, or when the queue is to be asked for it."""

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
            probe: The request was the probe. An older request does not end the time that the data plane asked for.
        """
        if self.is_open and not probe and now < self._away_until:
            return
        self._failures = self._probes_failed = self._excused = 0
        # A job that has just failed waits, and fails again, before this is over.
        self._well_until = now + 2 * self._maximum + 1.0
        self._probing = self.is_open = self.is_followed = False

    def follow(self, until: float) -> None:
        """Stay open until the queue is asked at *until* (monotonic seconds): all its processors leave the data plane alone."""
        self.is_open = self.is_followed = True
        self.opens_until = until

    def go_alone(self) -> None:
        """Go on by its own spacing where it is open: the queue says that other processors are well."""
        self.is_followed = False

    def record_failure(
        self,
        now: float,
        jitter: float,
        *,
        probe: bool,
        attempts: int = 0,
        retry_after: float | None = None,
        unauthorized: bool = False,
    ) -> bool:
        """
        Note a failed request. Return whether that counts against its job.

        Args:
            now: Monotonic seconds.
            jitter: A uniform draw from [0, 1).
            probe: The request was the probe.
            attempts: How often its job had failed before, in this process or others.
            retry_after: Seconds that the data plane asked for.
            unauthorized: The data plane refused the write key.
        """
        is_well = not self.is_open and not self._failures and now < self._well_until
        is_down = attempts >= self._threshold and not is_well
        counts = not is_down or self._has_no_excuse(now)
        if not (counts or unauthorized):
            self._excused_from = now if not self._excused else self._excused_from
            self._excused += 1
        self._failures += 1
        if retry_after:
            self._away_until = max(self._away_until, now + retry_after)
        if probe:
            self._probing = False
            self._probes_failed += 1
        elif self.is_open:  # a request that began before the breaker opened says nothing new
            self.opens_until = max(self.opens_until, self._away_until)
            return counts
        down = self.is_open or is_down or self._failures >= self._threshold
        if down or unauthorized or retry_after:
            self.is_open = True
            # Probes are spaced by the whole bound, and a little more, so that many processes do not probe at once.
            pause = backoff_bound(self._probes_failed + 1, self._initial, self._maximum) * (1 + jitter / 4)
            self.opens_until = max(now + pause, self._away_until)
        return counts

    def _has_no_excuse(self, now: float) -> bool:
        """Return whether enough failures were excused."""
        if self._maximum < _PATIENT or self._excused >= EXCUSED:
            return True
        return self._excused > 0 and now - self._excused_from >= EXCUSED * self._maximum
