"""What an answer of the data plane means (``judge`` is the table). Pure: no clock, no I/O."""

from __future__ import annotations

import email.utils
import enum
import json
import math
from dataclasses import dataclass, field
from datetime import UTC
from typing import TypeGuard

__all__ = [
    "DeliveryResult",
    "UnclearAnswerError",
    "Verdict",
    "judge",
    "parse_rejections",
    "parse_retry_after",
]

MAX_RETRY_AFTER = 3600.0
"""Longest wait, in seconds, that a data plane can impose."""


class Verdict(enum.Enum):
    """What to do with the events of one request."""

    DELIVERED = "delivered"
    RETRY = "retry"
    """The data plane, or the way there, does not work: back off, and try again."""
    SPLIT = "split"
    """The batch is too large: halve it, and go on."""
    BISECT = "bisect"
    """Some event is poison: halve the batch until that event is alone."""
    UNAUTHORIZED = "unauthorized"
    """The write key is refused: pause, keep everything, and probe."""
    REJECTED = "rejected"
    """These events will never be taken: they go to the failed queue."""


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """
    The outcome of one request: an HTTP answer, or the reason that there was none.

    Args:
        status: The HTTP status, or ``None`` where not even that came.
        error: Why there is no answer that can be judged, in our own words, with the host; "" where there is one. Beside a
            2xx status it means that the answer was cut, say, so it is not known which events were taken.
        retry_after: Seconds that the data plane asked us to wait, already clamped.
        body: The answer's body: all of it after a 2xx, else its beginning.
        timed_out: There was no answer in time, or not all of it.
        who: Who answered, for people.
    """

    status: int | None = None
    error: str = ""
    retry_after: float | None = None
    body: bytes = field(default=b"", repr=False)
    timed_out: bool = False
    who: str = "the data plane"

    @property
    def ending(self) -> str:
        """The status, ``timeout`` or ``error``: a word to count by."""
        if self.error or self.status is None:
            return "timeout" if self.timed_out else "error"
        return str(self.status)

    def describe(self) -> str:
        """Return one sentence for people, without anything that came from an event."""
        return self.error or f"{self.who} answered {self.status}"


def judge(result: DeliveryResult) -> Verdict:
    """Return what to do with the events of the request that ended with *result*."""
    status = result.status
    if status is None or result.error:
        return Verdict.RETRY
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status in (407, 408, 421, 425, 429):
        return (
            Verdict.RETRY
        )  # these are about the way there, the connection or the moment, never about the events
    if status == 413:
        return Verdict.SPLIT
    if status in (400, 422):
        return Verdict.BISECT
    if status in (401, 403):
        return Verdict.UNAUTHORIZED
    if 400 <= status < 500:
        return Verdict.REJECTED
    return Verdict.RETRY  # 5xx; 3xx is never followed; anything else is no answer that we know


class UnclearAnswerError(ValueError):
    """A 2xx answer speaks of errors and cannot be read: it is not known which events were taken."""


def parse_rejections(body: bytes, events: int) -> dict[int, str] | None:
    """
    Return which events a 2xx answer rejected: position -> the data plane's word for it, at most 200
    characters.

    Understood are, alone or beside each other: ``errors`` as a list of objects with an ``index``, a list of positions, a
    list with one error or null for each event, or a mapping from position to message; and ``results`` as a list with
    an object for each event (or with an ``index``), some of them ``"ok": false``. ``None`` means that the answer says
    that not all is well (``"ok": false``, errors) and names no event.

    Raises:
        UnclearAnswerError: The answer cannot be read, and speaks of errors, or might do so where it was cut.
    """
    text = _decode(body).lstrip("\ufeff \t\r\n")
    if not text.startswith("{"):
        return {}
    try:
        answer = json.loads(text, parse_int=_parse_int, strict=False)
    except (ValueError, RecursionError):
        if any(f'"{word}"' in text for word in _WORDS) or not text.rstrip("\0 \t\r\n").endswith("}"):
            raise UnclearAnswerError from None
        return {}  # it is no JSON, and says nothing of events
    found = _Rejections(events)
    found.note_errors(answer.get("errors"))
    found.note_results(answer.get("results"))
    if not found.named and (found.has_unnamed or answer.get("ok") is False):
        return None
    return found.named


_WORDS = ("errors", "results", "ok")
"""The keys under which an answer speaks of single events."""


def _decode(body: bytes) -> str:
    return body.decode(json.detect_encoding(body), "replace")


def _parse_int(digits: str) -> float:
    """Return an integer of JSON; infinity for one that is too long to be a position, and perhaps for Python."""
    return int(digits) if len(digits) < 19 else math.inf


class _Rejections:
    """Collects what the parts of one answer say of *events* events."""

    def __init__(self, events: int) -> None:
        self._events = events
        self.named: dict[int, str] = {}
        self.has_unnamed = False
        """The answer speaks of an error, and does not say of which event."""

    def note_errors(self, errors: object) -> None:
        """Take in ``errors``, in any of its forms."""
        if isinstance(errors, dict) and not any(self._position(key) is not None for key in errors):
            errors = [errors] if errors else None  # one error, not a mapping from positions
        if isinstance(errors, dict):
            for key, error in errors.items():
                if error is not None:
                    self._note(self._position(key), error)
        elif isinstance(errors, list):
            self._note_list(errors)
        elif errors:
            self.has_unnamed = True

    def _note_list(self, errors: list[object]) -> None:
        is_one_each = len(errors) == self._events
        has_gaps = is_one_each and None in errors  # then a number among them is the code of an error
        for place, error in enumerate(errors):
            bare = None if has_gaps else error
            given = error.get("index") if isinstance(error, dict) else bare
            if _is_number(given):
                self._note(self._position(given), "" if given is error else error)
            elif error or _is_number(error):
                self._note(place if is_one_each else None, error)

    def note_results(self, results: object) -> None:
        """Take in ``results``."""
        if not isinstance(results, list):
            return
        is_one_each = len(results) == self._events
        for place, result in enumerate(results):
            if isinstance(result, dict) and result.get("ok") is False:
                given = result.get("index")
                named = self._position(given) if _is_number(given) else place if is_one_each else None
                self._note(named, result)

    def _note(self, position: int | None, error: object) -> None:
        if position is None:
            self.has_unnamed = True
            return
        said = error.get("message") or error.get("error") or "" if isinstance(error, dict) else error
        text = " ".join(_shorten(said).split())[:200]
        self.named[position] = self.named.get(position) or text

    def _position(self, given: object) -> int | None:
        """Return the position of the event that *given* names; ``None`` where it names none of the batch."""
        if not _is_number(given):
            return None
        position = int(given)
        return position if 0 <= position < self._events else None


def _is_number(given: object) -> TypeGuard[int | str]:
    """Say whether *given* is an integer, or digits that stand for one."""
    if isinstance(given, str):
        return given.isdecimal() and len(given) < 10
    return isinstance(given, int) and not isinstance(given, bool)


def _shorten(said: object) -> str:
    """Return *said* as text; of a long one, little more than is kept."""
    if isinstance(said, str):
        return said[:1000]
    try:
        return "" if said is None else json.dumps(said, ensure_ascii=False)[:1000]
    except (ValueError, RecursionError):
        return ""


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
            if moment.tzinfo is None:  # the obsolete form of asctime names no zone; it is GMT, too
                moment = moment.replace(tzinfo=UTC)
            seconds = moment.timestamp() - now
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
