"""How many requests one dispatcher has under way, and how many parcels it holds. Pure: time comes in as an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Pace"]

_QUICK = 0.1
"""Longest a request may take, in seconds, for the next batches to be fetched ahead. They wait in this process for their turn:
should it be killed meanwhile, that costs them an attempt although they were not sent."""
_SILENCE = 2.0
"""Seconds without an outcome after which nothing is fetched ahead any more."""
_RAMP = 0.5
"""Seconds from one doubling to the next after an outage: a data plane that has just come back does not meet all at once."""
_BREATH = 1.0
"""Seconds within which the limit is halved once: the requests that were under way together are one warning."""
_SLOWER = 2.0
"""How many times as long as usual requests take where there are too many of them."""
_LEAST_SHARE = 0.75
"""What is left of the limit at least after a round of slow answers."""
_RECENT, _USUAL = 1 / 8, 1 / 64
"""Weight of one request in what is recent, and in what is usual."""


class Pace:
    """
    Adapts how many requests are under way to what the data plane bears, and lets parcels be fetched ahead while it is quick.

    The limit begins at one where *starts_slowly*, and doubles with each good answer. It is halved where the data plane asks
    for fewer requests (429, or an answer with ``Retry-After``), grows by one a round from there, and shrinks where requests
    take longer and longer. An outage has it begin at one again.

    Were parcels always fetched ahead, a process that is killed again and again would take batches into the failed queue that
    it never sent.

    Args:
        concurrency: Most requests under way at a time.
        fetches_ahead: Whether parcels may be fetched ahead at all.
        starts_slowly: Other processes may begin at the same moment, and the data plane may be down.
    """

    def __init__(self, concurrency: int, *, fetches_ahead: bool, starts_slowly: bool = False) -> None:
        self._most = concurrency
        self._limit = 1.0 if starts_slowly else float(concurrency)
        self._known_good = float(concurrency)  # up to here the limit doubles, beyond it grows by one a round
        self._ramp = 0.0  # seconds from one doubling to the next
        self._grows_from = self._halved_until = 0.0
        self._usual: dict[int, float] = {}  # seconds of a request, by how many jobs are in it (its magnitude)
        self._slowness = 1.0  # how many times as long as usual the last requests took
        self._since_slower = 0  # good answers since the limit was last made smaller for that
        self._fetches_ahead = fetches_ahead
        self._quick = 0  # answers in a row that came quickly
        self._heard_at = 0.0

    @property
    def limit(self) -> int:
        """Most requests under way now."""
        return int(self._limit)

    @property
    def spare(self) -> int:
        """How many parcels beyond its capacity it may hold. To send one more costs less than to give its jobs back."""
        return 1 if self._fetches_ahead else 0

    @property
    def capacity(self) -> int:
        """Most parcels to hold: those that are sent, and while answers come quickly as many again."""
        limit = self.limit
        # Where fewer are to be sent than there are senders, a parcel that is fetched ahead would be sent at once.
        ahead = self._fetches_ahead and limit == self._most and self._quick >= limit
        return 2 * limit if ahead else limit

    def note(self, requests: Sequence[tuple[str, float]], now: float) -> None:
        """Note how each request of an attempt ended, and how many seconds it took."""
        self._heard_at = now
        if requests:
            self._quick = self._quick + 1 if max(seconds for _, seconds in requests) <= _QUICK else 0

    def note_answer(self, requests: Sequence[tuple[str, float]], jobs: int, now: float) -> None:
        """Note that the data plane dealt with *jobs* in the last of *requests*: it may get more, unless it becomes slower."""
        if requests:
            self._note_seconds(max(requests[-1][1], _QUICK), jobs)
        self._grow(now)

    def note_throttled(self, now: float) -> None:
        """Note that the data plane asks for fewer requests."""
        if now >= self._halved_until:
            self._known_good = self._limit = max(1.0, self._limit / 2)
            self._halved_until = now + _BREATH

    def _grow(self, now: float) -> None:
        if self._slowness > _SLOWER:
            if self._since_slower >= self.limit:  # once a round
                self._since_slower = 0
                smaller = self._limit * max(_SLOWER / self._slowness, _LEAST_SHARE)
                self._known_good = self._limit = max(1.0, smaller)
        elif self._limit < self._known_good:
            if now >= self._grows_from:
                self._limit = min(2 * self._limit, self._known_good)
                self._grows_from = now + self._ramp
        else:
            self._limit = self._known_good = min(self._limit + 1 / self._limit, float(self._most))

    def restart(self) -> None:
        """Note that the data plane is down: it begins with one request when that is over."""
        self._limit, self._ramp, self._grows_from = 1.0, _RAMP, 0.0
        self._slowness = 1.0

    def has_stalled(self, now: float) -> bool:
        """Return whether the data plane has just ceased to answer quickly: what waits here is to be given back."""
        if self._quick and now - self._heard_at > _SILENCE:
            self._quick = 0
            return True
        return False

    def _note_seconds(self, seconds: float, jobs: int) -> None:
        magnitude = jobs.bit_length()  # a larger request takes longer for what it is
        usual = self._usual.setdefault(magnitude, seconds)
        self._slowness += (seconds / usual - self._slowness) * _RECENT
        self._usual[magnitude] = usual + (seconds - usual) * _USUAL
        self._since_slower += 1
