"""
What all processors of a queue know together of the data plane, and how many events they may send. Pure.

The processors have one circuit breaker, which is a record in their queue. While there is a **hold**, all of them stay away.
When its time is over, the first one that asks is given the **permit** to probe, with one job; the others ask again later. A
probe that fails prolongs the hold; one that is answered ends it. A prober that dies is forgotten when its permit ends.

Probes come at most ``PROBE_PAUSE`` apart, so that a data plane that works again is soon found. Only those cost their job an
attempt that one processor alone would have sent by its backoff options: an outage uses up no more attempts for it.

The rate is kept by one time, up to which all that was handed out is *paid* for. The burst is how far that may lie ahead.

Redis does the same in ``redis/lua/fleet.lua``; tests hold both to it. Times are microseconds of the queue's clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from eventspool._backends.rules import (
    BURST,
    FAILURES,
    LIMITED_POLL,
    LONGEST_HOLD,
    PROBE_PAUSE,
    PROBE_PERMIT,
    PROBE_POLL,
    PROBE_SPREAD,
)
from eventspool._fleet import Hold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._fleet import Trouble

__all__ = ["Admission", "Budget", "Doubt", "FleetState", "Holding", "micros"]

_LONGEST_WHY = 200
_HOLDING: Final = re.compile(
    r"(\d{1,16}):(\d{1,16}):(\d{1,16}):(\d{1,16}):(\d{1,16}):(\d{1,16}):([^:]*):(.*)", re.DOTALL
)
_DOUBT: Final = re.compile(r"(\d{1,9}):(\d{1,16})")
_SHARES: Final = 1021
_SECOND: Final = 1_000_000
_FARTHEST: Final = 10**12
"""Microseconds, eleven days: what is paid for beyond that is damaged."""


def micros(seconds: float) -> int:
    """Return *seconds* in microseconds, none where they are negative."""
    return max(0, round(seconds * _SECOND))


def _own_share(token: str) -> int:
    """Return how long a processor waits of the microseconds over which all of them come back. Lua can make the same."""
    share = 0
    for byte in token.encode("utf-8", "surrogateescape"):
        share = (33 * share + byte) % _SHARES
    return share * (micros(PROBE_SPREAD) // _SHARES)


@dataclass(frozen=True, slots=True)
class Admission:
    """
    What one that asks for jobs is told while there is a hold.

    Args:
        wait: Microseconds for which it is to stay away; 0 where it is the probe.
        is_free: Its probe costs no attempt.
    """

    wait: int = 0
    is_free: bool = False


@dataclass(frozen=True, slots=True)
class Holding:
    """
    All processors stay away from the data plane.

    Args:
        until: Nothing is handed out before. Then one processor may probe.
        asked: The data plane has asked to be left alone until then.
        step: The pause after which a lone processor would have probed last.
        longest: The longest such pause.
        dues: When such a processor would probe next: from then on, a probe costs an attempt.
        permit: Until when *prober* alone may ask for a job; 0 where none may.
        prober: The token of the processor that probes, or "".
        why: What the data plane answered.
    """

    until: int
    asked: int
    step: int
    longest: int
    dues: int
    permit: int
    prober: str
    why: str

    def is_believable(self, now: int) -> bool:
        """Return whether it ends within the time that a hold may last: a damaged record must not stop delivery for ever."""
        return self.until - now <= micros(LONGEST_HOLD)

    def admit(self, token: str, now: int) -> tuple[Admission, Holding]:
        """Say whether *token* is the probe, and how the hold goes on."""
        if now < self.until:
            return Admission(self.until - now), self
        if self.prober not in ("", token) and now < self.permit:
            return Admission(min(self.permit - now, micros(PROBE_POLL) + _own_share(token))), self
        admitted = replace(self, prober=token, permit=now + micros(PROBE_PERMIT))
        return Admission(is_free=now < self.dues), admitted

    def prolong(self, token: str, trouble: Trouble, now: int, *, is_probe: bool) -> Holding:
        """Return how it goes on after another failure."""
        asked = now + micros(trouble.retry_after) if trouble.retry_after else 0
        asked = max(self.asked, asked)
        if not (is_probe and self.prober == token):
            return replace(self, until=max(self.until, asked), asked=asked)
        step, dues = self.step, self.dues
        if self.permit - micros(PROBE_PERMIT) >= dues:  # a lone processor would have sent this one, too
            step = min(2 * step, self.longest)
            dues = now + step
        until = max(now + min(step, micros(PROBE_PAUSE)), asked)
        return Holding(until, asked, step, self.longest, dues, 0, "", trouble.why[:_LONGEST_WHY])

    def tell(self, now: int) -> Hold:
        """Return it as processors are told of it."""
        return Hold(max(self.until - now, 0) / _SECOND, self.why)

    def write(self) -> str:
        """Return it as text."""
        figures = (self.until, self.asked, self.step, self.longest, self.dues, self.permit)
        return ":".join((*map(str, figures), self.prober, self.why))

    @classmethod
    def read(cls, stored: object) -> Holding | None:
        """Return what ``write`` has written; ``None`` for anything else."""
        found = _HOLDING.fullmatch(stored) if isinstance(stored, str) else None
        if found is None:
            return None
        until, asked, step, longest, dues, permit = map(int, found.groups()[:6])
        return cls(until, asked, step, longest, dues, permit, found[7], found[8])


@dataclass(frozen=True, slots=True)
class Doubt:
    """
    Failures in a row that were told of, of all processors.

    Args:
        failures: How many.
        since: When the first one was told of.
    """

    failures: int = 0
    since: int = 0

    def grow(self, failures: int, answered: int, now: int) -> Doubt:
        """Return it with more *failures*. What was *answered* after the first one, of any processor, ends the row."""
        if not self.failures or answered > self.since:
            return Doubt(failures, now)
        return Doubt(self.failures + failures, self.since)

    def write(self) -> str:
        """Return it as text."""
        return f"{self.failures}:{self.since}"

    @classmethod
    def read(cls, stored: object) -> Doubt:
        """Return what ``write`` has written; none for anything else."""
        found = _DOUBT.fullmatch(stored) if isinstance(stored, str) else None
        return cls(int(found[1]), int(found[2])) if found else cls()


@dataclass(frozen=True, slots=True)
class FleetState:
    """What a queue keeps of its processors' breaker: the *holding*, and the *doubt* that may become one."""

    holding: Holding | None = None
    doubt: Doubt = field(default_factory=Doubt)

    def forget(self, token: str) -> FleetState:
        """Return how it goes on without the processor *token*: another one may probe at once."""
        if self.holding is None or self.holding.prober != token:
            return self
        return replace(self, holding=replace(self.holding, permit=0, prober=""))

    def hear(
        self, token: str, trouble: Trouble | None, *, is_probe: bool, answered: int, now: int
    ) -> FleetState:
        """
        Return how it goes on after what *token* has heard.

        Args:
            token: A processor; "" for a delivery in another partition, which ends a row of failures and no holding.
            trouble: What it heard; ``None`` for a good answer.
            is_probe: It sent the probe of all.
            answered: When an event was last delivered, by whichever processor.
            now: The moment.
        """
        holding = self.holding
        if holding is not None and not holding.is_believable(now):
            holding = None
        if trouble is None:
            if not token:
                return FleetState(holding, self.doubt)
            is_asked = holding is not None and holding.asked > now and not is_probe
            return FleetState(holding, self.doubt) if is_asked else FleetState()
        if holding is not None:
            return FleetState(holding.prolong(token, trouble, now, is_probe=is_probe), self.doubt)
        doubt = self.doubt.grow(trouble.failures, answered, now)
        is_refused = trouble.is_key_refused and now - answered > _SECOND
        if not (trouble.retry_after or is_refused or doubt.failures >= FAILURES):
            return FleetState(None, doubt)
        step, longest = micros(trouble.pause), micros(trouble.longest_pause)
        asked = now + micros(trouble.retry_after) if trouble.retry_after else 0
        until = max(now + min(step, micros(PROBE_PAUSE)), asked)
        return FleetState(Holding(until, asked, step, longest, now + step, 0, "", trouble.why[:_LONGEST_WHY]))


@dataclass(frozen=True, slots=True)
class Budget:
    """
    How far a rate is used up.

    Args:
        rate: Events in a second, by the processor that asks.
        paid: Up to when all events that were handed out are paid for.
    """

    rate: float
    paid: int

    def take(self, sizes: Sequence[int], now: int) -> tuple[int, Budget, int]:
        """
        Say how many of the next jobs go.

        Args:
            sizes: The events of each of them, in their order.
            now: The moment.

        Returns:
            How many go, what is left, and for how many microseconds one that does not go has to wait at least.
        """
        paid = min(max(self.paid, now), now + _FARTHEST)
        for count, events in enumerate(sizes):
            cost = round(events / self.rate * _SECOND)
            late = paid + cost - now - micros(BURST)
            if late > 0 and paid > now:
                wait = min(late, paid - now)
                return count, Budget(self.rate, paid), max(wait, micros(LIMITED_POLL))
            paid += cost
        return len(sizes), Budget(self.rate, paid), 0
