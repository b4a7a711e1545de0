"""
What the pipeline's parts hand to each other, as plain frozen data.

One **job** is one batch of events in the queue. It is in exactly one state:

    waiting --claim--> leased --ack--> (gone: delivered)
       ^                 |
       |   retry (later) v           fail
       +--- delayed <----+------------------> failed --replay--> waiting
                                                 \\--purge---> (gone)

A lease that runs out puts its job back to *waiting* and costs one attempt: whoever held it may have died.
"""

from __future__ import annotations

import enum
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LOST",
    "PURGED",
    "PURGED_FOR",
    "PURGED_KEPT",
    "Claim",
    "ClaimedJob",
    "CommitResult",
    "Depth",
    "Failure",
    "Job",
    "JobState",
    "NewJob",
    "ProcessorInfo",
    "QueueStats",
    "Settlement",
    "SettlementKind",
    "created_at_from_id",
    "new_job_id",
    "new_token",
]


class JobState(enum.StrEnum):
    """The states that a stored job can be in. A delivered job is gone."""

    WAITING = "waiting"
    DELAYED = "delayed"
    LEASED = "leased"
    FAILED = "failed"


def new_job_id() -> str:
    """
    Return a fresh job id: 48 bits of milliseconds and 64 random bits, in hex, so ids sort by creation time.

    The producer makes the id, which is what lets it commit the same job again after an unknown outcome.
    """
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(8).hex()}"


def created_at_from_id(job_id: str) -> float:
    """Return the creation time (seconds since the epoch) that *job_id* carries, or 0.0 for a foreign id."""
    try:
        return int(job_id[:12], 16) / 1000 if len(job_id) == 28 else 0.0
    except ValueError:
        return 0.0


def new_token() -> str:
    """Return a fresh lease token. One processor uses one token for its whole life."""
    return os.urandom(8).hex()


@dataclass(frozen=True, slots=True)
class NewJob:
    """A batch on its way into the queue: *payload* is an envelope (see ``_envelope``) of *events* events."""

    id: str
    payload: bytes = field(repr=False)
    events: int


@dataclass(frozen=True, slots=True)
class CommitResult:
    """
    What became of a commit.

    Args:
        accepted: Jobs that are now stored.
        duplicates: Jobs that were stored already: an earlier try of the same commit had succeeded.
        rejected: Ids that did not fit into the queue's bounds. They are not stored; try them again later.
        epoch: Names the storage that took them, for ``lookup``. Another one takes its place when somebody empties Redis or
            deletes the file. "" where it is not known.
    """

    accepted: int
    duplicates: int = 0
    rejected: tuple[str, ...] = ()
    epoch: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """
    A job under our lease.

    Args:
        id: The job's id.
        payload: The envelope as stored; ``None`` when the index knows the job but its payload is gone.
        attempts: Failed attempts so far, counting leases that ran out.
        progress: What an earlier holder saved about a half-finished batch (opaque to the backend), or "".
        created_at: Seconds since the epoch.
        stalled: The previous lease ran out.
    """

    id: str
    payload: bytes | None = field(repr=False)
    attempts: int
    progress: str = ""
    created_at: float = 0.0
    stalled: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """
    What a claim returned.

    Args:
        jobs: Jobs now leased to the caller, oldest first.
        wait: Where *jobs* are fewer than asked for: seconds until the next job comes due or the queue's lease ends;
            ``None`` when nothing is stored that time alone would make claimable, or (with jobs) where that is not known.
    """

    jobs: tuple[ClaimedJob, ...] = ()
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """
    Why a job, or some events of it, is in the failed queue.

    Args:
        reason: A short word to group by: ``rejected``, ``max_attempts``, ``stalled``, ``too_large``,
            ``corrupt``, ``unsupported``, ``encrypted``, ``missing``; from ``lookup`` also ``lost`` and ``purged``.
        error: One sentence for people, at most 500 characters. May quote up to 200 of what the data plane answered,
            so it is shown to operators and never logged.
        events: How many events the failed job holds. Counts only together with *payload*: otherwise it is what
            was stored, where that is known.
        payload: A smaller envelope that replaces the stored one because the other events were delivered.
        indices: Positions, in the batch as first committed, of the events that failed; ``None`` means all.
        status: The HTTP status, where there was one.
    """

    reason: str
    error: str
    events: int
    payload: bytes | None = field(default=None, repr=False)
    indices: tuple[int, ...] | None = None
    status: int | None = None


LOST = Failure("lost", "the queue was emptied, deleted or replaced while it held this event", 0)
"""What a look-up says of a job that is gone together with the storage that had taken it."""
PURGED = Failure("purged", "an operator purged this event from the queue, or erased it by user id", 0)
"""What a look-up says of a job that was deleted instead of delivered."""
PURGED_KEPT = 10_000
"""Of so many purged jobs, the last ones, a queue remembers that they were purged ..."""
PURGED_FOR = 86_400.0
"""... until the first purge after so many seconds. Producers look their jobs up every few."""


class SettlementKind(enum.Enum):
    """How a lease ends when the job was not simply delivered."""

    RETRY = "retry"
    """Put back, due after a delay, one more attempt counted."""
    RELEASE = "release"
    """Put back, no attempt counted."""
    FAIL = "fail"
    """Move to the failed queue."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of one lease: *kind*, the *delay* in seconds before the job is due again, saved *progress*."""

    job_id: str
    kind: SettlementKind
    delay: float = 0.0
    progress: str = ""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """
    A stored job as operators see it (contract, section 3).

    Args:
        id: The job's id.
        state: Where it is.
        events: How many events it holds.
        bytes: Size of the stored payload.
        attempts: Failed attempts so far.
        reason: Why it failed, as a word to group by; ``None`` unless failed.
        error: Why it failed, as a sentence; ``None`` unless failed.
        created_at: Seconds since the epoch.
        next_attempt_at: When it is due or its lease ends, seconds since the epoch; ``None`` when failed.
        failed_at: When it failed, for the last time, seconds since the epoch; ``None`` unless failed.
    """

    id: str
    state: JobState
    events: int
    bytes: int
    attempts: int
    reason: str | None
    error: str | None
    created_at: float
    next_attempt_at: float | None
    failed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Depth:
    """How much of something is stored."""

    jobs: int = 0
    events: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class QueueStats:
    """
    How full the queue is (contract, section 3).

    Args:
        waiting: Due now.
        delayed: Due later, after a failed attempt.
        leased: Held by a processor.
        failed: In the failed queue.
        oldest_age: Seconds since the oldest unfinished job was created; 0.0 when there is none.
        processors: Processors seen within the last half minute.
        paused: Nothing is handed out until ``resume``.
        accepted_events: Events stored since the queue was made; what is replayed is not accepted again. This total and
            the next three only grow, so their differences over time are rates. What was accepted was delivered, or
            purged, or is stored.
        delivered_events: Events that the data plane took.
        failed_events: Events that were moved to the failed queue, each time that they were.
        purged_events: Events that operators purged, or erased by user id.
    """

    waiting: Depth = field(default_factory=Depth)
    delayed: Depth = field(default_factory=Depth)
    leased: Depth = field(default_factory=Depth)
    failed: Depth = field(default_factory=Depth)
    oldest_age: float = 0.0
    processors: int = 0
    paused: bool = False
    accepted_events: int = 0
    delivered_events: int = 0
    failed_events: int = 0
    purged_events: int = 0

    def as_dict(self) -> Mapping[str, object]:
        """Return the same figures as nested plain dictionaries."""
        from dataclasses import asdict

        return asdict(self)


@dataclass(frozen=True, slots=True)
class ProcessorInfo:
    """
    A processor, as it described itself at its last heartbeat. What an older one did not say is empty.

    Args:
        token: Its lease token.
        host: The machine's name.
        pid: The process.
        version: Its eventspool.
        started_at: Seconds since the epoch.
        seen_at: When the queue last heard of it, seconds since the epoch.
        in_flight: Jobs that it holds.
        sent: Jobs that it delivered since it started.
        retried: Attempts that ended in a retry since it started.
        paused: To it the data plane is down or refuses the write key; it only probes.
        latency_p50: Median of the last requests' times in seconds; ``None`` before the first.
        latency_p99: Their 99th percentile.
        statuses: How its requests of the last seconds ended: the HTTP status, ``timeout``, or ``error`` where no answer
            came for another reason -> how many.
        last_error: What last went wrong, in one sentence; "" when nothing did.
    """

    token: str
    host: str = ""
    pid: int = 0
    version: str = ""
    started_at: float = 0.0
    seen_at: float = 0.0
    in_flight: int = 0
    sent: int = 0
    retried: int = 0
    paused: bool = False
    latency_p50: float | None = None
    latency_p99: float | None = None
    statuses: Mapping[str, int] = field(default_factory=dict)
    last_error: str = ""
