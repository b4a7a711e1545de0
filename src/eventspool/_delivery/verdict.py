"""What an answer of the data plane means (contract, section 2). Pure: no clock, no I/O."""

from __future__ import annotations

import email.utils
import enum
import json
import math
from dataclasses import dataclass, field
from datetime import UTC

__all__ = ["DeliveryResult", "Verdict", "judge", "parse_rejections", "parse_retry_after"]

MAX_RETRY_AFTER = 3600.0
"""Longest wait, in seconds, that a data plane can impose."""


class Verdict(enum.Enum):
    """What to do with the events of one request."""

    DELIVERED = "delivered"
    RETRY = "retry"
    """The data plane or the way there is ill: back off, try again."""
    SPLIT = "split"
    """Too large: halve and go on."""
    BISECT = "bisect"
    """Something in it is poison: halve until it is alone."""
    UNAUTHORIZED = "unauthorized"
    """The write key is refused: pause, keep everything, probe."""
    REJECTED = "rejected"
    """These events will never be taken: failed queue."""


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """
    The outcome of one request: an HTTP answer, or the reason that there was none.

    Args:
        status: The HTTP status, or ``None`` when no complete answer came.
        error: Why not, in our own words; "" with a status.
        retry_after: Seconds that the data plane asked us to wait, already clamped.
        body: The first 256 KiB of the answer's body.
        timed_out: There was no answer in time.
    """

    status: int | None = None
    error: str = ""
    retry_after: float | None = None
    body: bytes = field(default=b"", repr=False)
    timed_out: bool = False

    @property
    def ending(self) -> str:
        """The status, ``timeout`` or ``error``: a word to count by."""
        if self.status is None:
            return "timeout" if self.timed_out else "error"
        return str(self.status)

    def describe(self) -> str:
        """Return one sentence for people, without anything that came from an event."""
        return self.error if self.status is None else f"the data plane answered {self.status}"


def judge(result: DeliveryResult) -> Verdict:
    """Return the verdict of the contract's table for *result*."""
    status = result.status
    if status is None:
        return Verdict.RETRY
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status in (408, 425, 429):
        return Verdict.RETRY
    if status == 413:
        return Verdict.SPLIT
    if status in (400, 422):
        return Verdict.BISECT
    if status in (401, 403):
        return Verdict.UNAUTHORIZED
    if 400 <= status < 500:
        return Verdict.REJECTED
    return Verdict.RETRY  # 5xx; 3xx is never followed; anything else is no answer that we know


def parse_rejections(body: bytes, events: int) -> dict[int, str] | None:
    """
    Return which events a 2xx answer rejected: position -> the data plane's word for it, at most 200
    characters.

    Understood are ``errors`` as a list of objects with an ``index``, a list of positions, a list with one
    error or null for each event, or a mapping from position to message; and ``results`` as a list with an
    object for each event, some of them ``"ok": false``. ``None`` means that the answer as a whole says
    ``"ok": false`` and names no event.
    """
    if b'"errors"' not in body and b'"ok"' not in body:
        return {}
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(answer, dict):
        return {}
    errors, results = answer.get("errors"), answer.get("results")
    pairs: list[tuple[object, object]] = []
    if isinstance(errors, dict):
        pairs = list(errors.items())
    elif isinstance(errors, list) and None in errors and len(errors) == events:  # one entry for each event
        pairs = [(position, _said(e)) for position, e in enumerate(errors) if e is not None]
    elif isinstance(errors, list):
        pairs = [(e.get("index"), _said(e)) if isinstance(e, dict) else (e, "") for e in errors]
    elif isinstance(results, list) and len(results) == events:  # one entry for each event
        pairs = [(i, _said(r)) for i, r in enumerate(results) if isinstance(r, dict) and r.get("ok") is False]
    found: dict[int, str] = {}
    for given, message in pairs:
        position = int(given) if isinstance(given, str) and given.isdecimal() and len(given) < 10 else given
        if isinstance(position, int) and not isinstance(position, bool) and 0 <= position < events:
            found[position] = " ".join(str(message).split())[:200]
    if not found and answer.get("ok") is False:
        return None
    return found


def _said(error: object) -> object:
    return error.get("message") or error.get("error") or "" if isinstance(error, dict) else error


def parse_retry_after(value: str | None, now: float) -> float | None:
    """
    Return the seconds that a ``Retry-After`` header asks for (RFC 9110, section 10.2.3), between 0 and an
    hour.

    Args:
        value: The header; seconds or an HTTP date. Junk is ``None``.
        now: Seconds since the epoch.
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(value)
            if moment.tzinfo is None:  # the obsolete asctime form names no zone; it is GMT, too
                moment = moment.replace(tzinfo=UTC)
            seconds = moment.timestamp() - now
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
