"""
What arrived: counts, the ids of all events, and the last requests and events.

A million events cost one dictionary entry each: the id, and 60 bits that tell whether a later arrival had
other bytes.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Ledger", "RequestRecord", "Stats"]

_CHANGED_IDS_KEPT = 100


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """
    One request to the data plane's path, noted just before it was answered.

    Args:
        time: When, in seconds since the epoch.
        status: The status answered; ``None`` when the connection ended without one.
        events: Events in the body; ``None`` where the body was not read or not understood.
        recorded: Events of it that count as received.
        body_bytes: Size of the body on the wire.
        sent_at: The body's ``sentAt``.
        fault: The rule that decided the answer, in text form.
        connection: Ordinal of the connection that it came over.
        message_ids: Those of the events in the body, as far as they have one.
        headers: ``user-agent``, ``content-type``, ``content-encoding`` and every ``x-…``, names in lower
            case.
    """

    time: float
    status: int | None
    events: int | None = None
    recorded: int = 0
    body_bytes: int = 0
    sent_at: str | None = None
    fault: str | None = None
    connection: int = 0
    message_ids: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stats:
    """
    Counts since the start or the last reset.

    Args:
        requests: Requests to the data plane's path.
        statuses: Requests by status answered, as text; ``"none"`` for those that got no answer.
        events: Events received, repeats included.
        unique: Different message ids among them.
        duplicates: ``events - unique``.
        changed: Duplicates whose bytes differ from the first arrival of the same id.
        changed_ids: The first hundred of their ids.
        rejected: Events that an answer named as invalid while the rest of its batch was taken.
        without_sent_at: Batches without ``sentAt``.
        body_bytes: Request bodies, as sent.
        inflated_bytes: The same, inflated (only batches that could be read).
        connections: Connections accepted.
        faults: How often each rule of the present script has fired, by its text form.
        uptime: Seconds since the start or the last reset.
    """

    requests: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)
    events: int = 0
    unique: int = 0
    duplicates: int = 0
    changed: int = 0
    changed_ids: tuple[str, ...] = ()
    rejected: int = 0
    without_sent_at: int = 0
    body_bytes: int = 0
    inflated_bytes: int = 0
    connections: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    uptime: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the same figures as plain dictionaries and lists."""
        return asdict(self) | {"changed_ids": list(self.changed_ids)}


class Ledger:
    """
    The record of everything received. Safe to use from several threads.

    Args:
        keep_events: How many of the last events to keep whole.
        keep_requests: How many of the last requests to keep.
    """

    def __init__(self, *, keep_events: int, keep_requests: int) -> None:
        self._changed = threading.Condition()
        self._kept_events: deque[dict[str, Any]] = deque(maxlen=keep_events)
        self._kept_requests: deque[RequestRecord] = deque(maxlen=keep_requests)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        with self._changed:
            self._digests: dict[str, int] = {}
            self._repeats: dict[str, int] = {}
            self._statuses: Counter[str] = Counter()
            self._counts: Counter[str] = Counter()
            self._changed_ids: list[str] = []
            self._kept_events.clear()
            self._kept_requests.clear()
            self._since = time.monotonic()
            self._changed.notify_all()

    def note(
        self,
        request: RequestRecord,
        accepted: Sequence[tuple[dict[str, Any], str]] = (),
        *,
        rejected: int = 0,
        inflated_bytes: int = 0,
    ) -> None:
        """Add one request, with the events that it delivered and their text, in one step."""
        with self._changed:
            self._kept_requests.append(request)
            self._statuses["none" if request.status is None else str(request.status)] += 1
            counts = self._counts
            counts["requests"] += 1
            counts["body_bytes"] += request.body_bytes
            counts["inflated_bytes"] += inflated_bytes
            counts["rejected"] += rejected
            counts["without_sent_at"] += request.events is not None and request.sent_at is None
            counts["events"] += len(accepted)
            for event, raw in accepted:
                self._add(event, raw)
            self._changed.notify_all()

    def note_connection(self) -> int:
        """Count one accepted connection and return its ordinal, from 1."""
        with self._changed:
            self._counts["connections"] += 1
            return self._counts["connections"]

    def _add(self, event: dict[str, Any], raw: str) -> None:
        message_id: str = event["messageId"]
        # str's keyed 64-bit hash is fast, and stays in this process; 60 bits fit a small int object.
        digest = hash(raw) >> 4
        known = len(self._digests)
        first = self._digests.setdefault(message_id, digest)
        self._kept_events.append(event)
        if len(self._digests) > known:
            return
        self._repeats[message_id] = self._repeats.get(message_id, 0) + 1
        if first != digest:
            self._counts["changed"] += 1
            if len(self._changed_ids) < _CHANGED_IDS_KEPT:
                self._changed_ids.append(message_id)

    def stats(self, faults: Mapping[str, int]) -> Stats:
        """Return a snapshot of the counts."""
        with self._changed:
            counts = self._counts
            return Stats(
                requests=counts["requests"],
                statuses=dict(self._statuses),
                events=counts["events"],
                unique=len(self._digests),
                duplicates=counts["events"] - len(self._digests),
                changed=counts["changed"],
                changed_ids=tuple(self._changed_ids),
                rejected=counts["rejected"],
                without_sent_at=counts["without_sent_at"],
                body_bytes=counts["body_bytes"],
                inflated_bytes=counts["inflated_bytes"],
                connections=counts["connections"],
                faults=dict(faults),
                uptime=time.monotonic() - self._since,
            )

    def unique(self) -> int:
        """Return how many different events were received."""
        with self._changed:
            return len(self._digests)

    def unique_ids(self) -> list[str]:
        """Return the id of every event received, in the order of first arrival."""
        with self._changed:
            return list(self._digests)

    def arrivals(self, message_id: str) -> int:
        """Return how often the event *message_id* was received."""
        with self._changed:
            return self._repeats.get(message_id, 0) + (message_id in self._digests)

    def events(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the last *limit* kept events (all of them by default), oldest first, repeats included."""
        with self._changed:
            kept = list(self._kept_events)
        return kept if limit is None else kept[max(0, len(kept) - limit) :]

    def requests(self) -> list[RequestRecord]:
        """Return the kept requests, oldest first."""
        with self._changed:
            return list(self._kept_requests)

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Block until *condition* holds, checked after every request, or *timeout*; say whether it holds."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)
