"""What a processor asks a queue for, and what it is handed out, as plain frozen data."""

import os
from dataclasses import dataclass, field

__all__ = [
    "HELD",
    "LIMITED",
    "PAUSED",
    "Claim",
    "ClaimTerms",
    "ClaimedJob",
    "new_token",
]


def new_token() -> str:
    """Return a fresh lease token. One processor uses one token for its whole life."""
    return os.urandom(8).hex()


@dataclass(frozen=True, slots=True)
class ClaimTerms:
    """
    What a processor asks for when it claims jobs. ``Backend.claim`` says what each of them does.

    Args:
        limit: Most jobs.
        visibility_timeout: How long the lease lasts, in seconds.
        max_bytes: Most bytes of their payloads together, but one job in any case; ``None`` where that is not limited.
        probe: Take the jobs with the fewest attempts, and not the oldest ones.
        sending: The caller means to send them to the data plane.
        chain: How many jobs that hold up one another may be leased together.
        chain_bytes: Most bytes of their payloads, or a little more; ``None`` where that is not limited.
        events_per_second: Most events that all processors together are handed out; ``None`` where that is not limited.
    """

    limit: int
    visibility_timeout: float
    max_bytes: int | None = None
    probe: bool = False
    sending: bool = True
    chain: int = 1
    chain_bytes: int | None = None
    events_per_second: float | None = None


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
