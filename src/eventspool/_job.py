"""
What the pipeline's parts hand to each other, as plain frozen data.

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
from collections.abc import Mapping
from dataclasses import dataclass, field
from zlib import crc32

from eventspool._distribution import Distribution

__all__ = [
    "ALL_LANES",
    "HELD",
    "LANES",
    "LIMITED",
    "LOST",
    "MOVED",
    "PAUSED",
    "PURGED",
    "PURGED_FOR",
    "PURGED_KEPT",
    "Claim",
    "ClaimedJob",
    "CommitResult",
    "Depth",
    "Failure",
    "Hold",
    "Job",
    "JobState",
    "NewJob",
    "Partition",
    "ProcessorInfo",
    "QueueStats",
    "Rewrite",
    "Route",
    "Routing",
    "Settlement",
    "SettlementKind",
    "Trouble",
    "created_at_from_id",
    "lanes_of",
    "new_job_id",
    "new_token",
]


class JobState(enum.StrEnum):
    """The states that a stored job can be in. A delivered job is gone."""

    WAITING = "waiting"
    DELAYED = "delayed"
    LEASED = "leased"
    FAILED = "failed"


LANES = 16
"""Lanes of a partition. A user's events stay in one. A job goes out when no earlier unfinished job shares a lane with it."""
ALL_LANES = (1 << LANES) - 1
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
class Route:
    """
    Where a job whose order matters belongs.

    Args:
        generation: The division of the queue into partitions that it was made for.
        partition: The partition of that division, counted from 0.
    """

    generation: int
    partition: int


@dataclass(frozen=True, slots=True)
class Routing:
    """
    How a queue that keeps the order per user is divided at present.

    Args:
        generation: Counts the divisions: each change of the number of partitions makes a new one.
        partitions: How many partitions take new jobs.
    """

    generation: int
    partitions: int

    def place(self, user: bytes) -> tuple[int, int]:
        """Return the partition and the lane of *user*, an id as it stands in the event's JSON."""
        number = crc32(user)
        return number % self.partitions, (number >> 16) % LANES


def new_token() -> str:
    """Return a fresh lease token. One processor uses one token for its whole life."""
    return os.urandom(8).hex()


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
    failure: "Failure | None" = None
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
    """

    accepted: int
    duplicates: int = 0
    rejected: tuple[str, ...] = ()
    impossible: tuple[str, ...] = ()
    epoch: str = field(default="", compare=False, repr=False)
    stale: tuple[str, ...] = ()
    away: tuple[str, ...] = ()


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
        obstacle: Why no job is handed out, although jobs may wait: ``HELD``, ``PAUSED``, ``LIMITED``, why all processors stay
            away from the data plane, or "" where nothing is in the way.
        is_held_back: All processors stay away from the data plane. To be asked again after *wait* seconds.
        is_probe: All but the caller do. What is leased is the one probe of them all.
        is_free: Where that probe fails, it costs its job no attempt.
        held_up: Jobs wait behind others of their lanes: when one of those ends, there may be more to claim.
    """

    jobs: tuple[ClaimedJob, ...] = ()
    wait: float | None = None
    obstacle: str = ""
    held_up: bool = False
    is_held_back: bool = False
    is_probe: bool = False
    is_free: bool = False


HELD = "another process holds the queue"
PAUSED = "an operator has paused the queue"
LIMITED = "max_events_per_second is used up for the moment"


@dataclass(frozen=True, slots=True)
class Trouble:
    """
    What one processor has heard of a data plane that does not work, for all processors of its queue. Times are in seconds.

    Args:
        why: One sentence for people: what the data plane answered.
        pause: Until the first probe: the processor's ``backoff_initial``.
        longest_pause: Its ``backoff_max``.
        failures: How many requests have failed since it told of the last one.
        retry_after: How long the data plane asked to be left alone; 0.0 where it did not.
        is_key_refused: The data plane refused the write key.
    """

    why: str
    pause: float
    longest_pause: float
    failures: int = 1
    retry_after: float = 0.0
    is_key_refused: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """
    That all processors of a queue stay away from the data plane.

    Args:
        seconds: For how long at least. Then one of them probes it.
        why: What the data plane answered, in one sentence.
    """

    seconds: float
    why: str


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


@dataclass(frozen=True, slots=True)
class Depth:
    """
    How much of something is stored.

    Args:
        jobs: Batches.
        events: The events in them.
        bytes: Size of their payloads.
    """

    jobs: int = 0
    events: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Partition:
    """
    One of the partitions over which a queue is spread.

    Args:
        generation: The division of the queue that it belongs to. Each change of the number of partitions makes a new one.
        number: Which of that division's partitions it is, counted from 0.
        unfinished: The jobs in it that are waiting, delayed or leased.
        failed: The failed jobs in it.
        sealed: It belongs to an older division: it hands out what it holds, and takes no new jobs.
        away: It cannot be reached. What it holds is not known then.
        node: The address of the server that has it; "" where it is not known.
    """

    generation: int
    number: int
    unfinished: Depth
    failed: Depth
    sealed: bool = False
    away: bool = False
    node: str = ""


@dataclass(frozen=True, slots=True)
class QueueStats:
    """
    How full the queue is.

    Args:
        waiting: Due now.
        delayed: Due later, after a failed attempt.
        leased: Held by a processor.
        failed: In the failed queue.
        oldest_age: Seconds since the oldest unfinished job was created; 0.0 when there is none.
        processors: Processors seen within the last half minute.
        paused: Nothing is handed out until ``resume``.
        accepted_events: Events stored since the queue was made; what is replayed is not accepted again. This total and
            the next four only grow, so their differences over time are rates. What was accepted was delivered, or
            purged, or moved to another queue, or is stored.
        delivered_events: Events that the data plane took.
        failed_events: Events that were given up into the failed queue, each time that they were. What has failed in another
            queue and was moved here is not.
        purged_events: Events that operators purged, or erased by user id.
        moved_events: Events that operators moved to another queue.
        held_until: All processors stay away from the data plane until then, seconds since the epoch; then one of them probes
            it. 0.0 where they do not.
        held_because: What the data plane answered, in one sentence; "" where they do not stay away.
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
    moved_events: int = 0
    held_until: float = 0.0
    held_because: str = ""

    def as_dict(self) -> Mapping[str, object]:
        """Return the same figures as nested plain dictionaries."""
        from dataclasses import asdict

        return asdict(self)


@dataclass(frozen=True, slots=True)
class ProcessorInfo:
    """
    A processor, as it described itself at its last heartbeat. What a processor of an older version does not say is empty.

    Args:
        token: Its lease token.
        host: The machine's name.
        pid: The process.
        version: The version of its eventspool.
        started_at: Seconds since the epoch.
        seen_at: When the queue last heard of it, seconds since the epoch.
        in_flight: Jobs that it holds.
        sent: Jobs that it delivered since it started.
        retried: Attempts that ended in a retry since it started.
        paused: The processor finds that the data plane is down or refuses the write key, and only probes.
        latency_p50: Median of the last requests' times in seconds; ``None`` before the first.
        latency_p99: The 99th percentile of the same times.
        statuses: How many of its requests of the last seconds ended how: with an HTTP status, with ``timeout``, or with
            ``error`` where no answer came for another reason.
        last_error: What last went wrong, in one sentence; "" when nothing did.
        pause_reason: Why it is paused, as a word to group by: ``unauthorized`` (the data plane refuses the write key),
            ``throttled`` (it asks for fewer requests), ``unavailable`` (it answers that it is down), ``unreachable`` (there is
            no answer) or ``unknown``; "" while it is not paused.
        unreadable: Why it could not read batches of late, as a word of the failed queue: ``encrypted``; "" where it read all.
        reads_nothing: It has delivered nothing since then.
        request_seconds: How long its requests took since it started; ``None`` where it does not say.
        lag_seconds: How old batches were when the data plane took them, since it started: from the making of the batch, by
            the clock of its producer.
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
    pause_reason: str = ""
    unreadable: str = ""
    reads_nothing: bool = False
    request_seconds: Distribution | None = None
    lag_seconds: Distribution | None = None


for _public in (Depth, Distribution, Job, Partition, ProcessorInfo, QueueStats):
    _public.__module__ = "eventspool"  # what help, tracebacks and pickle say: this module may change
