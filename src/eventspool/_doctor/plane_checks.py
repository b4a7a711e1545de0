"""What can be wrong with the way to the data plane. Pure: from facts to findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventspool._doctor.finding import Finding, error, note, warning
from eventspool._doctor.redis_checks import MAX_SKEW
from eventspool._operate.diagnosis import KINDS
from eventspool._operate.diagnosis.sentences import code_of_plane

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PlaneFacts", "check_plane"]

EXPIRES_SOON = 14 * 86_400.0
"""Seconds. Certificates are usually renewed automatically a month before they expire; at two weeks that has failed."""
SLOW = 2.0
"""Seconds for an empty batch."""
_EMPTY_IS_WRONG = (400, 422)
"""Statuses of a data plane that has read the batch without events, and so has accepted the key before."""


@dataclass(frozen=True, slots=True)
class PlaneFacts:
    """
    What the data plane answered to a batch without events, or, without a write key, to a ``HEAD``.

    Args:
        url: Where it is.
        problem: Why there was no answer, in our own words; "" where there was one.
        status: The HTTP status.
        elapsed: Seconds until the answer, connecting included.
        has_key: A write key was given.
        skew: Seconds that its clock (the ``Date`` header) is ahead of this host's; ``None`` without the header.
        expires_in: Seconds until its certificate expires; ``None`` without TLS.
        encrypted: It is reached by https.
        loopback: It is on this machine.
    """

    url: str
    problem: str = ""
    status: int | None = None
    elapsed: float = 0.0
    has_key: bool = True
    skew: float | None = None
    expires_in: float | None = None
    encrypted: bool = True
    loopback: bool = False


def check_plane(facts: PlaneFacts) -> Iterator[Finding]:
    """Yield what is wrong."""
    if facts.problem:
        code = code_of_plane(facts.problem, "unreachable")
        yield error(code, facts.problem, f"{KINDS[code].remedy} ({facts.url})")
    if not facts.encrypted and not facts.loopback:
        yield error(
            "plane.tls",
            "the write key and all events travel to another machine unencrypted",
            "give the data plane's https:// URL",
        )
    if facts.expires_in is not None and facts.expires_in < EXPIRES_SOON:
        days = facts.expires_in / 86_400
        yield warning(
            "plane.certificate",
            f"its certificate expires in {days:.1f} days; from then on no event is delivered",
            "have the operator of the data plane renew it",
        )
    if facts.skew is not None and abs(facts.skew) > MAX_SKEW:
        side = "ahead of" if facts.skew > 0 else "behind"
        yield warning(
            "plane.clock",
            f"its clock is {abs(facts.skew):.0f} s {side} this host's: the times of events are wrong by as much",
            "let this host set its clock by NTP (timedatectl, chronyc tracking)",
        )
    if facts.status is not None:
        yield from _check_answer(facts, facts.status)


def _check_answer(facts: PlaneFacts, status: int) -> Iterator[Finding]:
    if not facts.has_key:
        yield note(
            "plane.key",
            "the write key was not checked: none was given",
            "set EVENTSPOOL_WRITE_KEY",
        )
        return
    if status in (401, 403):
        yield error(
            "plane.key",
            f"the data plane refuses the write key ({status}): everything stays in the queue",
            "set EVENTSPOOL_WRITE_KEY to the source's key and restart the workers; nothing is lost meanwhile",
        )
    elif 300 <= status < 400:
        yield error(
            "plane.answer",
            f"it redirects ({status}), and redirects are never followed: no event is delivered",
            "give the URL that it redirects to as --data-plane-url",
        )
    elif status in (404, 405, 410):
        yield error(
            "plane.answer",
            f"there is nothing that takes batches at this URL ({status}): events would go to the failed queue",
            "correct --data-plane-url (scheme and host) or --path, as the clients have them",
        )
    elif status == 429:
        yield warning("plane.throttled", "it limits the rate (429)", KINDS["plane.throttled"].remedy)
    elif not (200 <= status < 300 or status in _EMPTY_IS_WRONG):
        yield error(
            "plane.unavailable",
            f"it answers {status} to a batch without events",
            KINDS["plane.unavailable"].remedy,
        )
    elif facts.elapsed > SLOW:
        yield warning(
            "plane.latency",
            f"it took {facts.elapsed:.1f} s to answer a batch without events",
            "see what is slow on the way; more --concurrency (with --multi) makes up for it",
        )
