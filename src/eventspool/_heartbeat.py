"""
The note that a processor leaves in the queue with each heartbeat, for operators who watch the queue. Pure.

It holds figures, names of machines and sentences of ours: no payload, no write key. A note may be damaged, like everything
that comes from a queue: what cannot be read is left empty, and nothing is raised.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from eventspool._distribution import LAG_BOUNDS, REQUEST_BOUNDS, Tally, read_distribution
from eventspool._fleet import ProcessorInfo
from eventspool._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PAUSE_REASONS", "Heartbeat", "pause_reason", "read_note"]

MAX_NOTE_BYTES = 8192
"""Longest note that is read."""
_REQUESTS = 500
"""Requests, the last ones, from which the latencies are taken."""
_PERIODS = 4
"""Heartbeats in which an answer is told: an operator who looks less often than they come must see it, too."""
_STATUSES = 16
_LONGEST_TEXT = 200

PAUSE_REASONS = ("unauthorized", "throttled", "unavailable", "unreachable", "unknown")
"""Why delivery is paused: the words of ``ProcessorInfo.pause_reason``."""
_REASONS = {
    "401": "unauthorized",
    "403": "unauthorized",
    "429": "throttled",
    "timeout": "unreachable",
    "error": "unreachable",
}


def pause_reason(ending: str) -> str:
    """Return why delivery is paused when the last request that failed ended with *ending* ("" where none did)."""
    return _REASONS.get(ending, "unavailable" if ending else "unknown")


class Heartbeat:
    """
    What one processor tells of itself. Only one thread may use it.

    Args:
        host: The machine's name.
        pid: The process.
        started_at: Seconds since the epoch.
    """

    def __init__(self, host: str, pid: int, started_at: float) -> None:
        self._known = {"host": host, "pid": pid, "version": __version__, "started_at": started_at}
        self._seconds: deque[float] = deque(maxlen=_REQUESTS)
        self._latencies: tuple[float | None, float | None] | None = (None, None)  # None: to be computed anew
        self._endings: Counter[str] = Counter()
        self._endings_before: deque[Counter[str]] = deque(maxlen=_PERIODS - 1)
        self._request_seconds = Tally(REQUEST_BOUNDS)
        self._lag_seconds = Tally(LAG_BOUNDS)
        self._last_failure = ""
        self._unreadable, self._unreadable_until = "", float("-inf")
        self.reads_nothing = False
        """Nothing was delivered since a batch could not be read."""
        self.last_error = ""
        """What last went wrong, in words of ours."""

    def add(self, requests: Sequence[tuple[str, float]]) -> None:
        """Count *requests* to the data plane: how each ended, and the seconds that it took."""
        if not requests:
            return
        for ending, seconds in requests:
            self._endings[ending] += 1
            self._seconds.append(seconds)
            self._request_seconds.add(seconds)
            # A pause that comes later, on another processor's word, has nothing to do with what was before an answer.
            self._last_failure = "" if ending.startswith("2") else ending
        self._latencies = None

    def note_unreadable(self, reason: str, until: float) -> None:
        """Note that a batch could not be read for *reason*. That holds *until* it must have been tried again (monotonic)."""
        if not self.unreadable(time.monotonic()):
            self.reads_nothing = True
        self._unreadable, self._unreadable_until = reason, until

    def unreadable(self, now: float) -> str:
        """Return why batches could not be read of late, "" where they could."""
        return self._unreadable if now < self._unreadable_until else ""

    def add_delivery(self, created_at: float, now: float) -> None:
        """Count a batch that the data plane took *now* (seconds since the epoch), if it is known when it was made."""
        self.reads_nothing = False
        if created_at:
            self._lag_seconds.add(now - created_at)

    @property
    def pause_reason(self) -> str:
        """Why delivery is paused, if it is."""
        return pause_reason(self._last_failure)

    def note(self, *, in_flight: int, sent: int, retried: int, paused: bool) -> str:
        """Return the next note (the figures are those of ``ProcessorInfo``)."""
        statuses = Counter(self._endings)
        for before in self._endings_before:
            statuses.update(before)
        self._endings_before.append(self._endings)
        self._endings = Counter()
        if self._latencies is None:
            ordered = sorted(self._seconds)
            last = len(ordered) - 1
            self._latencies = round(ordered[last // 2], 6), round(ordered[round(last * 0.99)], 6)
        p50, p99 = self._latencies
        unreadable = self.unreadable(time.monotonic())
        note = {
            **self._known,
            "in_flight": in_flight,
            "sent": sent,
            "retried": retried,
            "paused": paused,
            "latency_p50": p50,
            "latency_p99": p99,
            "statuses": dict(statuses.most_common(_STATUSES)),
            "last_error": self.last_error[:_LONGEST_TEXT],
            "pause_reason": self.pause_reason if paused else "",
            "unreadable": unreadable,
            "reads_nothing": bool(unreadable) and self.reads_nothing,
            "request_seconds": self._request_seconds.note(),
            "lag_seconds": self._lag_seconds.note(),
        }
        return json.dumps(note, separators=(",", ":"))


def read_note(token: str, seen_at: float, note: str) -> ProcessorInfo:
    """Return what *note* says of the processor *token*."""
    fields: Any = None
    if len(note) <= MAX_NOTE_BYTES:
        with contextlib.suppress(ValueError, RecursionError):
            fields = json.loads(note)
    if not isinstance(fields, dict):
        fields = {}
    statuses = fields.get("statuses")
    paused = fields.get("paused") is True
    reason = fields.get("pause_reason")
    return ProcessorInfo(
        token=token,
        host=_text(fields.get("host")),
        pid=_count(fields.get("pid")),
        version=_text(fields.get("version")),
        started_at=_seconds(fields.get("started_at")) or 0.0,
        seen_at=seen_at,
        in_flight=_count(fields.get("in_flight")),
        sent=_count(fields.get("sent")),
        retried=_count(fields.get("retried")),
        paused=paused,
        latency_p50=_seconds(fields.get("latency_p50")),
        latency_p99=_seconds(fields.get("latency_p99")),
        statuses={
            _text(status): _count(number)
            for status, number in (statuses.items() if isinstance(statuses, dict) else ())
        },
        last_error=_text(fields.get("last_error")),
        pause_reason=(reason if reason in PAUSE_REASONS else "unknown") if paused else "",
        unreadable=_text(fields.get("unreadable")),
        reads_nothing=fields.get("reads_nothing") is True,
        request_seconds=read_distribution(REQUEST_BOUNDS, fields.get("request_seconds")),
        lag_seconds=read_distribution(LAG_BOUNDS, fields.get("lag_seconds")),
    )


def _text(value: object) -> str:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _seconds(value: object) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and 0 <= value < 1e12 else None  # type: ignore[operator,arg-type]
