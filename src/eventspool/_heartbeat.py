"""
The note that a processor leaves in the queue with each heartbeat, for whoever watches. Pure.

It holds figures, names of machines and sentences of ours: no payload, no write key. Notes are read like everything that
comes from a queue: any rubbish gives an answer, at worst an empty one.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from eventspool._job import ProcessorInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["RecentRequests", "read_note", "write_note"]

MAX_NOTE_BYTES = 8192
"""Longest note that is read."""
_REQUESTS = 500
"""From how many requests the latencies are taken."""
_PERIODS = 4
"""For how many heartbeats an answer is told: a watcher who looks less often than they come must see it, too."""
_STATUSES = 16
_ERROR_LENGTH = 200


class RecentRequests:
    """How the last requests to the data plane went. One thread's own."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_REQUESTS)
        self._now: Counter[str] = Counter()
        self._before: deque[Counter[str]] = deque(maxlen=_PERIODS - 1)

    def add(self, requests: Iterable[tuple[str, float]]) -> None:
        """Count *requests*: how each ended, and the seconds that it took."""
        for ending, seconds in requests:
            self._now[ending] += 1
            self._seconds.append(seconds)

    def read(self) -> dict[str, Any]:
        """Return the figures of a note, and begin the next period."""
        statuses = sum(self._before, Counter(self._now))
        self._before.append(self._now)
        self._now = Counter()
        ordered = sorted(self._seconds)
        last = len(ordered) - 1
        return {
            "latency_p50": ordered[last // 2] if ordered else None,
            "latency_p99": ordered[round(last * 0.99)] if ordered else None,
            "statuses": dict(statuses.most_common(_STATUSES)),
        }


def write_note(last_error: str, **figures: Any) -> str:
    """Return the note: the fields of ``ProcessorInfo`` but for those that the queue knows."""
    figures["last_error"] = last_error[:_ERROR_LENGTH]
    return json.dumps(figures, separators=(",", ":"))


def read_note(token: str, seen_at: float, note: str) -> ProcessorInfo:
    """Return what *note* says of the processor *token*."""
    fields: Any = None
    if len(note) <= MAX_NOTE_BYTES:
        with contextlib.suppress(ValueError, RecursionError):
            fields = json.loads(note)
    if not isinstance(fields, dict):
        fields = {}
    statuses = fields.get("statuses")
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
        paused=fields.get("paused") is True,
        latency_p50=_seconds(fields.get("latency_p50")),
        latency_p99=_seconds(fields.get("latency_p99")),
        statuses={
            _text(status): _count(number)
            for status, number in (statuses.items() if isinstance(statuses, dict) else ())
        },
        last_error=_text(fields.get("last_error")),
    )


def _text(value: object) -> str:
    return value[:_ERROR_LENGTH] if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _seconds(value: object) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and 0 <= value < 1e12 else None  # type: ignore[operator,arg-type]
