"""
Moments and message ids as text, cheap enough for every call.

All moments have one form: UTC, milliseconds, ``Z``. One without a zone is local time, as in Python itself.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime, timedelta
from time import time_ns

from eventspool._events.interruption import raise_interruption
from eventspool._guest.process import in_child, was_forked_past_python

__all__ = ["instant_text", "moment_of", "new_message_id", "now_text"]

_MILLISECONDS = tuple(f"{i:03d}Z" for i in range(1000))
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_present: tuple[int, str] = (
    -1,
    "",
)  # a millisecond and its text; replaced as a whole, so no thread sees half of it
_present_second: tuple[int, str] = (-1, "")


def now_text() -> str:
    """Return the present moment, such as ``2026-11-23T17:26:00.123Z``."""
    global _present  # noqa: PLW0603 - a cache: the events of one request fall into one millisecond or two
    now = time_ns() // 1_000_000
    moment, text = _present
    if now != moment:
        text = _millisecond_text(now)
        _present = (now, text)
    return text


def _millisecond_text(moment: int) -> str:
    global _present_second  # noqa: PLW0603 - a cache, too: of the part up to the second
    now, fraction = divmod(moment, 1000)
    second, prefix = _present_second
    if now != second:
        prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(now))
        _present_second = (now, prefix)
    return prefix + _MILLISECONDS[fraction]


def instant_text(moment: datetime) -> str:
    """
    Return *moment* in UTC. Finer digits than milliseconds are cut off.

    A zone can push the first and last day of the calendar over its edge; such a moment becomes the edge.
    """
    if type(moment) is not datetime:  # a subclass may override any of what follows; pandas' does
        moment = datetime(
            moment.year,
            moment.month,
            moment.day,
            moment.hour,
            moment.minute,
            moment.second,
            moment.microsecond,
            moment.tzinfo,
            fold=moment.fold,
        )
    try:
        utc = moment.astimezone(UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise_interruption(error)
        utc = _at_the_edge(moment)
    return utc.isoformat(timespec="milliseconds")[:-6] + "Z"


def _at_the_edge(moment: datetime) -> datetime:
    offset = moment.utcoffset()
    if offset is None:
        offset = timedelta(seconds=-time.timezone)
    naive = moment.replace(tzinfo=None)
    try:
        return (naive - offset).replace(tzinfo=UTC)
    except OverflowError as error:
        raise_interruption(error)
        return _FIRST if offset > timedelta(0) else _LAST


def moment_of(value: object) -> datetime | None:
    """
    Return the moment that a caller's *value* means, ``None`` where it means none.

    Taken are datetimes, dates (their local midnight), ISO 8601 text, and seconds since the epoch.
    """
    if isinstance(value, datetime):
        return value if value == value else None  # pandas' NaT is a datetime that equals nothing
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - local, like every moment without a zone
    try:
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise_interruption(error)
    return None


def _new_message_id() -> str:
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


try:
    # Only a version that reseeds itself after a fork: two processes must never draw the same id.
    from uuid_utils import reseed_rng as _reseed_rng  # noqa: F401
    from uuid_utils import uuid4 as _uuid4

    def new_message_id() -> str:
        """Return a fresh random UUID (version 4) as text."""
        return str(_uuid4())

    def _begin_in_child() -> None:
        # uuid_utils has a generator in each thread. After a fork it reseeds only those of threads that Python tells it of.
        global _uuid4  # noqa: PLW0603 - there is one process
        if was_forked_past_python():
            _uuid4 = _new_message_id  # type: ignore[assignment]  # either reads as the id

    in_child(_begin_in_child)

except ImportError:
    new_message_id = _new_message_id
