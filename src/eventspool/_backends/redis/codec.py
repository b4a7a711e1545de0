"""
What scripts are told and what they reply: how much at once, and how values of ours are written for Redis and read back.

A record that another program damaged reads as zero or as "unknown", and fails no call.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from eventspool._backends.rules import QUEUE_LEASE, positions_of
from eventspool._claim import HELD, LIMITED, Claim, ClaimedJob
from eventspool._figures import Depth, QueueStats
from eventspool._fleet import Hold
from eventspool._job import LOST, MOVED, PURGED, Failure, Job, JobState, SettlementKind, created_at_from_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eventspool._claim import ClaimTerms
    from eventspool._fleet import Trouble
    from eventspool._job import NewJob, Rewrite, Settlement

__all__ = [
    "MAX_COMMIT_BYTES",
    "MAX_IDS",
    "SMALL_COMMIT_BYTES",
    "STANDBY",
    "cut",
    "cut_commit",
    "cut_rewrites",
    "decode_claim",
    "decode_claimed",
    "decode_depths",
    "decode_failure",
    "decode_fate",
    "decode_hold",
    "decode_job",
    "decode_stats",
    "decode_text",
    "encode_chain",
    "encode_failure",
    "encode_job",
    "encode_rewrite",
    "encode_settlement",
    "encode_terms",
    "encode_trouble",
    "micros",
    "queue_lease_ms",
]

_T = TypeVar("_T")

MAX_IDS: Final = 1000
"""Most jobs in one call of a script: Lua cannot unpack many more, and no call may hold up the server for long."""
MAX_COMMIT_BYTES: Final = 4 << 20
"""Most payload in one transaction."""
_LONGEST_WHY: Final = 200
SMALL_COMMIT_BYTES: Final = 16 << 10
"""Most payload that goes through Lua: that costs the server more for each byte, and saves it a transaction."""


def cut(items: Sequence[_T], size: int = MAX_IDS) -> Iterator[Sequence[_T]]:
    """Cut *items* into chunks of at most *size*."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def cut_commit(jobs: Sequence[NewJob], longest: float) -> Iterator[list[NewJob]]:
    """
    Cut *jobs* into transactions, each of failed jobs alone or of unfinished ones alone.

    None has more than *longest* bytes, which is what the server takes, but for a single job that is longer itself.
    """
    most = min(MAX_COMMIT_BYTES, longest)
    chunk: list[NewJob] = []
    size = 0
    for job in jobs:
        alike = not chunk or (chunk[0].failure is None) == (job.failure is None)
        if chunk and (len(chunk) == MAX_IDS or size + len(job.payload) > most or not alike):
            yield chunk
            chunk, size = [], 0
        chunk.append(job)
        size += len(job.payload)
    if chunk:
        yield chunk


def cut_rewrites(rewrites: Sequence[Rewrite]) -> Iterator[list[Rewrite]]:
    """Cut *rewrites* into calls of the script, of at most ``MAX_COMMIT_BYTES`` but for a single larger one."""
    chunk: list[Rewrite] = []
    size = 0
    for each in rewrites:
        more = len(each.expected) + len(each.payload)
        if chunk and (len(chunk) == MAX_IDS or size + more > MAX_COMMIT_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(each)
        size += more
    if chunk:
        yield chunk


def micros(seconds: float) -> int:
    """Return *seconds* in microseconds, none where they are negative."""
    return max(0, round(seconds * 1e6))


def queue_lease_ms(visibility_timeout: float) -> int:
    """Return how long a dead processor keeps a FIFO queue, in milliseconds."""
    return max(1, round(min(visibility_timeout, QUEUE_LEASE) * 1000))


def decode_text(value: bytes | str) -> str:
    """Return *value* as text, from which the connection makes the same bytes again, whatever they are."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def encode_job(job: NewJob, payload: bytes = b"") -> tuple[str | int | bytes, ...]:
    """
    Return what the script ``commit`` is told of *job*, or ``commit_failed`` where it failed in another queue.

    The *payload* goes along where the script is to store it.
    """
    if job.failure is None:
        tries = f":{job.attempts}:{job.progress}" if job.attempts or job.progress else ""
        return job.id, f"{job.events}{tries}", payload
    return job.id, job.events, job.attempts, micros(job.failed_at), encode_failure(job.failure)


def encode_rewrite(rewrite: Rewrite) -> tuple[str | int | bytes, ...]:
    """Return what the script ``rewrite`` is told of one job."""
    positions = json.dumps(rewrite.purged) if rewrite.purged else ""
    return rewrite.job_id, rewrite.expected, rewrite.payload, rewrite.events, positions


def encode_settlement(settled: Settlement) -> tuple[str | int | bytes, ...]:
    """Return what the script ``settle`` is told of one job."""
    failure = settled.failure or Failure("unknown", "", 0)
    cause = encode_failure(failure) if settled.kind is SettlementKind.FAIL else ""
    job_id, kind, delay = settled.job_id, settled.kind.value, micros(settled.delay)
    return job_id, kind, delay, settled.progress, cause, failure.events, failure.payload or b""


def encode_failure(failure: Failure) -> str:
    """Return the JSON without its closing brace: the script adds what only it knows."""
    known = {"reason": failure.reason, "error": failure.error[:500]}  # in this order, see failure_counts.lua
    return json.dumps({**known, "indices": failure.indices, "status": failure.status})[:-1]


def decode_failure(stored: bytes | str) -> tuple[Failure, int]:
    """Return the failure and the attempts; damaged text gives a failure that says so."""
    try:
        info = json.loads(stored)
        indices, status = info.get("indices"), info.get("status")
        return Failure(
            str(info["reason"]),
            str(info["error"]),
            int(info["events"]),
            indices=None if indices is None else tuple(int(index) for index in indices),
            status=status if isinstance(status, int) else None,
        ), int(info.get("attempts", 0))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Failure("unknown", "the record of this failure is damaged", 0), 0


def decode_fate(reply: Any) -> Failure:
    """Return what the script ``lookup`` says of a job that is neither unfinished nor simply gone."""
    reply, positions = reply if isinstance(reply, list) else (reply, b"")
    purged = positions_of(positions) or ()
    match reply:
        case -1:
            return LOST
        case -2:
            return replace(PURGED, indices=purged) if purged else PURGED
        case -3:
            return MOVED
    return replace(decode_failure(reply)[0], purged=purged)


def decode_claimed(
    ids: Sequence[str], payloads: Sequence[bytes | None], found: Sequence[Any]
) -> tuple[ClaimedJob, ...]:
    """Return claimed jobs: their *ids* and *payloads* with *found*, the five values that the claiming scripts tell of each."""
    return tuple(
        ClaimedJob(
            job_id, payload, int(attempts), decode_text(progress), created_at_from_id(job_id), bool(stalled)
        )
        for job_id, payload, attempts, progress, stalled in zip(
            ids, payloads, found[1::5], found[2::5], found[3::5], strict=True
        )
    )


STANDBY, HELD_BACK, FLEET_PROBE, FREE_PROBE, RATE_LIMITED = 1, 8, 16, 32, 64
"""What the role is the sum of that the claiming scripts reply."""


def encode_terms(token: str, terms: ClaimTerms, *, is_standby: bool) -> tuple[object, ...]:
    """Return how the scripts that claim are told of *terms*, in the order in which ``lua/claiming.lua`` reads them."""
    return (
        token,
        max(1, min(terms.limit, MAX_IDS)),
        micros(terms.visibility_timeout),
        queue_lease_ms(terms.visibility_timeout),
        int(terms.probe),
        int(not terms.sending),
        int(is_standby),
        -1 if terms.max_bytes is None else terms.max_bytes,
        terms.events_per_second or 0,
    )


def encode_chain(terms: ClaimTerms) -> tuple[int, int]:
    """Return what the script that claims by lanes is told besides: how many jobs may be chained, and of how many bytes."""
    return max(1, terms.chain), -1 if terms.chain_bytes is None else terms.chain_bytes


def decode_claim(role: int, wait: float | None, jobs: tuple[ClaimedJob, ...], more: Sequence[Any]) -> Claim:
    """Return what the claiming scripts reply of *jobs* in a *role*, with what they said *more* where there is none."""
    if role & HELD_BACK:
        return Claim((), wait, decode_text(more[0]), is_held_back=True)
    obstacle = HELD if role & STANDBY else LIMITED if role & RATE_LIMITED else ""
    is_probe, is_free = bool(role & FLEET_PROBE), bool(role & FREE_PROBE)
    return Claim(jobs, wait, "" if jobs else obstacle, is_probe=is_probe, is_free=is_free)


def encode_trouble(trouble: Trouble | None) -> tuple[Any, ...]:
    """Return what the script ``hold`` is told of a data plane."""
    if trouble is None:
        return 0, 0, 0, 0, 0, ""
    pauses = map(micros, (trouble.pause, trouble.longest_pause, trouble.retry_after))
    return trouble.failures, *pauses, int(trouble.is_key_refused), trouble.why[:_LONGEST_WHY]


def decode_hold(reply: Sequence[Any]) -> Hold | None:
    """Return what the script ``hold`` replies."""
    return Hold(reply[0] / 1e6, decode_text(reply[1])) if reply else None


def decode_stats(reply: Sequence[Any]) -> QueueStats:
    """Return what the script ``stats`` has counted."""
    *counted, held_us, why = reply
    figures = [int(figure) for figure in counted]
    waiting, delayed, leased, failed = (Depth(*figures[at : at + 3]) for at in range(0, 12, 3))
    oldest_ms, processors, now_us, paused, accepted, delivered, given_up, purged, moved = figures[12:]
    return QueueStats(
        waiting,
        delayed,
        leased,
        failed,
        oldest_age=0.0 if oldest_ms < 0 else max(0.0, now_us / 1e6 - oldest_ms / 1e3),
        processors=processors,
        paused=bool(paused),
        accepted_events=accepted,
        delivered_events=delivered,
        failed_events=given_up,
        purged_events=purged,
        moved_events=moved,
        held_until=held_us / 1e6,
        held_because=decode_text(why),
    )


def decode_depths(reply: Sequence[Any]) -> dict[str, Depth]:
    """Return counts by reason, of which a script tells four values each."""
    return {decode_text(reply[at]): Depth(*reply[at + 1 : at + 4]) for at in range(0, len(reply), 4)}


def decode_job(state: JobState, job_id: bytes, at: bytes, size: bytes, tries: bytes, cause: bytes) -> Job:
    """Return a job from the five values that the script ``jobs`` tells of it."""
    name = decode_text(job_id)
    events, _, stored = size.partition(b":")
    failure, attempts = None, _number(tries.partition(b":")[0])
    if state is JobState.FAILED:
        failure, attempts = decode_failure(cause)
    return Job(
        id=name,
        state=state,
        events=_number(events),
        bytes=_number(stored),
        attempts=attempts,
        reason=failure.reason if failure else None,
        error=failure.error if failure else None,
        created_at=created_at_from_id(name),
        next_attempt_at=None if failure else _number(at) / 1e6,
        failed_at=_number(at) / 1e6 if failure else None,
    )


def _number(digits: bytes) -> int:
    return int(digits) if digits.isdigit() and len(digits) <= 16 else 0
