"""
What an instrumentation sees of delivery: one ``Attempt`` for each time that a job was sent. Pure.

Nothing here holds an event's content or what the data plane said of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from eventspool._envelope import count_events

if TYPE_CHECKING:
    from eventspool._delivery.attempt import Outcome
    from eventspool._job import ClaimedJob

__all__ = ["Attempt", "Observer", "describe_attempt"]


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
        origins: What ``Observer.origin`` returned for its events, where this process tracked them.
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
    origins: tuple[object, ...] = ()


class Observer(Protocol):
    """An instrumentation of one client."""

    def origin(self) -> object | None:
        """Return what ties an event to where it is tracked. Called on the caller's thread, for every event."""

    def attempted(self, attempt: Attempt) -> object:
        """Be told of an attempt. Called on the thread that sent it."""


def describe_attempt(
    job: ClaimedJob, outcome: Outcome, began_at: float, ended_at: float, origins: tuple[object, ...]
) -> Attempt | None:
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
        origins=origins,
    )
