"""One dispatcher's part in the breaker that all processors of its queue share (see ``_backends.fleet``)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eventspool._backends.rules import PROBE_YIELD
from eventspool._claim import HELD, PAUSED
from eventspool._fleet import Trouble
from eventspool._guest.log import Log

if TYPE_CHECKING:
    from eventspool._backends import Backend
    from eventspool._claim import Claim
    from eventspool._config import JobOpts
    from eventspool._delivery.attempt import Outcome
    from eventspool._delivery.breaker import Breaker

__all__ = ["Fleet"]

_log = Log("eventspool")


class Fleet:
    """
    Tells the queue what this processor hears of the data plane, and the breaker what the others hear. One thread's own.

    Where no other process can share the queue, it does nothing, and the breaker goes on by itself.

    Args:
        backend: The queue.
        token: The processor's.
        opts: How patiently a job is tried.
        breaker: The processor's.
    """

    def __init__(self, backend: Backend, token: str, opts: JobOpts, breaker: Breaker) -> None:
        self._backend = backend
        self._token = token
        self._opts = opts
        self._breaker = breaker
        self._news: Trouble | None = None
        self._is_probes = False  # the news came from a probe
        self.has_news = False
        """The queue is to be told something."""
        self.probe_is_free = False
        """The probe that is under way costs its job no attempt."""

    def note_failure(self, outcome: Outcome, *, probe: bool) -> None:
        """Note a failure that the breaker has heard of. What comes before the queue is told is one piece of news."""
        if not self._backend.shared or (
            self._breaker.is_followed and not (probe or outcome.retry_after or outcome.unauthorized)
        ):
            return  # a request that began before all stayed away says nothing new
        earlier = self._news
        trouble = Trouble(
            outcome.error,
            self._opts.backoff_initial,
            self._opts.backoff_max,
            retry_after=outcome.retry_after or 0.0,
            is_key_refused=outcome.unauthorized,
        )
        if earlier is not None:
            trouble = replace(
                trouble,
                failures=earlier.failures + 1,
                retry_after=max(earlier.retry_after, trouble.retry_after),
                is_key_refused=earlier.is_key_refused or trouble.is_key_refused,
            )
        self._tell_soon(trouble, probe=probe)

    def note_answer(self, *, was_open: bool, probe: bool) -> None:
        """Note a good answer that the breaker has heard of, where it *was_open*."""
        if self._backend.shared and ((was_open and not self._breaker.is_open) or probe):
            self._tell_soon(None, probe=probe)
        elif self._news is not None:
            self.has_news, self._news = False, None  # failures that were in no row

    def _tell_soon(self, news: Trouble | None, *, probe: bool) -> None:
        self._is_probes = probe or (self.has_news and self._is_probes)
        self._news, self.has_news = news, True

    def tell(self, now: float) -> None:
        """Tell the queue the news, and follow what it says. Raises ``QueueError``: then the next call tells it again."""
        hold = self._backend.hold(self._token, self._news, is_probe=self._is_probes)
        grace = PROBE_YIELD if self._is_probes else 0.0
        self.has_news, self._news, self._is_probes = False, None, False
        if hold is not None:
            self._follow(hold.why, now + hold.seconds + grace)
        elif self._breaker.is_followed:
            self._breaker.go_alone()

    def heed(self, claim: Claim, now: float) -> bool:
        """Do as the queue said with *claim*. Return whether what was claimed is the probe of all."""
        breaker, self.probe_is_free = self._breaker, claim.is_free
        if claim.is_held_back:
            self._follow(claim.obstacle, now + (claim.wait or 0.0))
        elif claim.is_probe:
            breaker.follow(now)
        elif breaker.is_followed and claim.obstacle not in (HELD, PAUSED):
            breaker.record_success(now, probe=True)  # another processor's probe was answered
            _log.info("the data plane works again")
        return claim.is_probe

    def _follow(self, why: str, until: float) -> None:
        if not self._breaker.is_open:
            _log.warning(
                "delivery is held up: %s; one processor of the queue probes until it works again", why
            )
        self._breaker.follow(until)
