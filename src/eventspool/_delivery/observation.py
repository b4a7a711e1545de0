"""
What an instrumentation sees of delivery: one ``Attempt`` for each time that a job was sent. Pure.

Nothing here holds an event's content or what the data plane said of it.

The spans in which a batch's events were tracked travel with it in its stored form, as W3C ``traceparent`` values with commas
between them. So whichever process sends the batch can link its own span to them. What a batch says is read with care: other
processes write to the queue, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from eventspool._envelope import count_events, trace_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eventspool._claim import ClaimedJob
    from eventspool._delivery.attempt import Outcome

__all__ = ["MAX_SPANS", "Attempt", "Observer", "describe_attempt", "write_trace"]

MAX_SPANS = 32
"""Spans that a batch names at most: 1.8 kB, which is little beside a batch, and as many links as a person can follow."""
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    One attempt at one job.

    Args:
        job_id: The job.
        number: 1 for the job's first attempt.
        events: Events of the job.
        failed: How many of them were given up.
        ended_as: ``delivered``, ``failed`` (at least in part), or ``retry``.
        reason: A word to group by: why the job failed, or how its last request ended; "" where it was delivered.
        status: The last HTTP status, where there was one.
        requests: Requests that it took.
        began_at: Seconds since the epoch.
        ended_at: Seconds since the epoch.
        spans: In which its events were tracked, as ``traceparent`` values; empty where no instrumented client tracked them.
    """

    job_id: str
    number: int
    events: int
    failed: int
    ended_as: str
    reason: str
    status: int | None
    requests: int
    began_at: float
    ended_at: float
    spans: tuple[str, ...] = ()


class Observer(Protocol):
    """An instrumentation of one client."""

    def origin(self) -> object | None:
        """Return what ties an event to where it is tracked. Called on the caller's thread, for every event."""

    def describe(self, origins: list[object]) -> Iterable[str]:
        """
        Return the spans that are to be remembered of *origins*, the most useful first, as ``traceparent`` values.

        Called on the thread that makes batches, with what ``origin`` returned for the events of one.
        """

    def attempted(self, attempt: Attempt) -> object:
        """Be told of an attempt. Called on the thread that sent it."""


def write_trace(spans: Iterable[str]) -> bytes:
    """Return what a batch says of the *spans* in which its events were tracked."""
    return ",".join(islice(spans, MAX_SPANS)).encode("ascii")


def _read_trace(trace: bytes) -> tuple[str, ...]:
    """Return the spans that *trace* names. What is no ``traceparent`` is left out."""
    named = trace.decode("ascii", "replace").split(",", MAX_SPANS)[:MAX_SPANS]
    return tuple(span for span in named if _TRACEPARENT.fullmatch(span))


def describe_attempt(job: ClaimedJob, outcome: Outcome, began_at: float, ended_at: float) -> Attempt | None:
    """Return what *outcome* says of *job*; ``None`` where nothing was sent and nothing decided."""
    failure, requests = outcome.failure, outcome.requests
    if not requests and failure is None:
        return None
    ending = requests[-1][0] if requests else ""
    events, failed = count_events(job.payload or b""), 0
    if failure is not None:
        failed = failure.events if failure.payload is not None else events
    elif not outcome.delivered and ending.startswith(
        "2"
    ):  # it stopped between two parts, for the process ends
        ending = "stopped"
    return Attempt(
        job_id=job.id,
        number=job.attempts + 1,
        events=events,
        failed=failed,
        ended_as="failed" if failure else "delivered" if outcome.delivered else "retry",
        reason=failure.reason if failure else "" if outcome.delivered else ending,
        status=int(requests[-1][0]) if requests and requests[-1][0].isdigit() else None,
        requests=len(requests),
        began_at=began_at,
        ended_at=ended_at,
        spans=_read_trace(trace_of(job.payload)),
    )
