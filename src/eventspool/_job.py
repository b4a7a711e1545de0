"""
What the pipeline's parts hand to each other of a batch in the queue, as plain frozen data.

One **job** is one batch of events in the queue. It is in exactly one state:

    waiting --claim--> leased --ack--> (gone: delivered)
       ^                 |
       |   retry (later) v           fail
       +--- delayed <----+------------------> failed --replay--> waiting
                                                 \\--purge---> (gone)

A lease that runs out puts its job back to *waiting* and costs one attempt: the processor that held it may have died.
"""

import enum
import os
import re
import time
from dataclasses import dataclass, field

from eventspool._routing import ALL_LANES, Route

__all__ = [
    "LOST",
    "MOVED",
    "PURGED",
    "PURGED_FOR",
    "PURGED_KEPT",
    "CommitResult",
    "Failure",
    "Job",
    "JobState",
    "NewJob",
    "Rewrite",
    "Settlement",
    "SettlementKind",
    "created_at_from_id",
    "lanes_of",
    "new_job_id",
]


class JobState(enum.StrEnum):
    """The states that a stored job can be in. A delivered job is gone."""

    WAITING = "waiting"
    DELAYED = "delayed"
    LEASED = "leased"
    FAILED = "failed"


_ID_DIGITS = 28
_LANES_AT_END = re.compile("-([0-9A-Fa-f]{4})")


def new_job_id(lanes: int = ALL_LANES) -> str:
    """
    Return a fresh job id: 48 bits of milliseconds and 64 random bits, in hex, so ids sort by creation time.

    The producer makes the id, and can therefore commit the same job again after an unknown outcome. Of a job that touches not
    all *lanes* (one bit for each), the id ends with a hyphen and these bits as four digits.
    """
    fresh = f"{time.time_ns() // 1_000_000:012x}{os.urandom(8).hex()}"
    return fresh if lanes == ALL_LANES else f"{fresh}-{lanes:04x}"


def lanes_of(job_id: str) -> int:
    """Return the lanes that a job touches, one bit for each: all of them where its id names none."""
    found = _LANES_AT_END.fullmatch(job_id, _ID_DIGITS)
    return (int(found[1], 16) if found else 0) or ALL_LANES


def created_at_from_id(job_id: str) -> float:
    """Return the creation time (seconds since the epoch) that *job_id* carries, or 0.0 for a foreign id."""
    try:
        is_ours = len(job_id) == _ID_DIGITS or job_id[_ID_DIGITS] == "-"
        return int(job_id[:12], 16) / 1000 if is_ours else 0.0
    except (ValueError, IndexError):
        return 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """
    Why a job, or some events of it, is in the failed queue.

    Args:
        reason: A short word to group by: ``rejected``, ``max_attempts``, ``stalled``, ``too_large``,
            ``corrupt``, ``unsupported``, ``encrypted``, ``missing``, ``imported``; from ``lookup`` also ``lost``, ``purged``,
            ``moved``.
        error: One sentence for people, at most 500 characters. May quote up to 200 of what the data plane answered,
            so it is shown to operators and never logged.
        events: How many events the failed job holds. Counts only together with *payload*: otherwise it is what
            was stored, where that is known.
        payload: A smaller envelope that replaces the stored one because the other events were delivered.
        indices: Positions, in the batch as first committed, of the events that failed; ``None`` means all.
        status: The HTTP status, where there was one.
        purged: Positions, in the batch as first committed, of events that were erased by user id before. Neither failed nor
            delivered, they are not among *indices*.
    """

    reason: str
    error: str
    events: int
    payload: bytes | None = field(default=None, repr=False)
    indices: tuple[int, ...] | None = None
    status: int | None = None
    purged: tuple[int, ...] = ()


LOST = Failure(
    "lost", "the queue was emptied, deleted or replaced, or came back older, while it held this event", 0
)
"""What a look-up says of a job that is gone, together with the storage that had taken it."""
PURGED = Failure("purged", "an operator purged this event from the queue, or erased it by user id", 0)
"""What a look-up says of a job that was deleted instead of delivered, or by ``indices`` of events that were erased from it."""
MOVED = Failure(
    "moved", "an operator moved this event to another queue: what becomes of it there is not known here", 0
)
"""What a look-up says of a job that another queue has taken. It did not fail: it waits there, or was delivered from there."""
PURGED_KEPT = 10_000
"""Jobs, the last ones that were purged or moved, of which a queue remembers what became of them."""
PURGED_FOR = 86_400.0
"""Seconds for which it remembers them. Producers look their jobs up every few seconds, so a day is ample."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """
    A batch on its way into the queue. What it went through in another queue comes along where it is moved.

    Args:
        id: Its id.
        payload: An envelope (see ``_envelope``).
        events: How many events are in it.
        attempts: Failed attempts so far.
        progress: What a holder saved about the half-finished batch, or "".
        failure: The job is a failed one, and stays one, for this reason. The failure's *payload* and *events* are not used.
        failed_at: When it failed, seconds since the epoch.
        route: Where it belongs, in a queue that keeps the order per user; ``None`` where that is not known, as for a job that
            comes out of another queue.
        is_foreign: It comes out of another queue, and another process may have brought it already. So a queue of several
            partitions looks for it in all of them.
    """

    id: str
    payload: bytes = field(repr=False)
    events: int
    attempts: int = 0
    progress: str = ""
    failure: Failure | None = None
    failed_at: float = 0.0
    route: Route | None = None
    is_foreign: bool = False


@dataclass(frozen=True, slots=True)
class CommitResult:
    """
    What became of a commit.

    Args:
        accepted: Jobs that are now stored.
        duplicates: Jobs that were stored already: an earlier try of the same commit had succeeded.
        rejected: Ids that did not fit into the queue's bounds. They are not stored; try them again later.
        impossible: Ids of jobs that can never be stored here, however empty the queue is: each alone is larger than the queue
            may be, or than the server takes. They are not stored, not among *rejected*, and hold up nothing behind them.
        epoch: Names the storage that took them, for ``lookup``. Another one takes its place when an operator empties Redis
            or deletes the file. "" where it is not known.
        stale: Ids of jobs that were made for another division of the queue into partitions than the present one. They are not
            stored, not among *rejected*, and must be made anew from their events.
        away: Ids of jobs whose partition cannot be reached. They are not known to be stored; try them again later, and let no
            job of the same partition overtake them.
        advice: Why jobs were rejected and what an operator does about it, in one sentence, where it is not the bounds of the
            options that are used up; else "".
    """

    accepted: int
    duplicates: int = 0
    rejected: tuple[str, ...] = ()
    impossible: tuple[str, ...] = ()
    epoch: str = field(default="", compare=False, repr=False)
    stale: tuple[str, ...] = ()
    away: tuple[str, ...] = ()
    advice: str = field(default="", compare=False)


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
class Rewrite:
    """
    A payload that is to take the place of another one.

    Args:
        job_id: The job whose payload it is.
        expected: What is stored now. Where something else is, nothing is changed.
        payload: What is to be stored.
        events: How many events are in it.
        purged: The positions, in the batch as first committed, of all events that are out of it for an erasure.
    """

    job_id: str
    expected: bytes = field(repr=False)
    payload: bytes = field(repr=False)
    events: int
    purged: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """
    A stored job, which is one batch of events, as operators see it.

    Args:
        id: The job's id.
        state: Where it is: ``waiting``, ``delayed``, ``leased`` or ``failed``.
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


Job.__module__ = "eventspool"  # what help, tracebacks and pickle say: this module may change
