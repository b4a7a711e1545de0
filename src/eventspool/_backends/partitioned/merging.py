"""How the answers of several partitions become one. Pure."""

from __future__ import annotations

import math
from dataclasses import fields
from functools import reduce
from typing import TYPE_CHECKING

from eventspool._backends.partitioned.ring import ROOT, Part
from eventspool._figures import Depth, QueueStats
from eventspool._job import LOST, CommitResult, Job, JobState, created_at_from_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from eventspool._job import Failure

__all__ = [
    "add_commits",
    "add_depths",
    "add_stats",
    "join_epochs",
    "merge_fates",
    "merge_jobs",
    "place_job",
    "read_cursor",
    "split_epoch",
    "write_cursor",
]

_TOTALS = ("accepted_events", "delivered_events", "failed_events", "purged_events", "moved_events")


def add_depths(depths: Iterable[Depth]) -> Depth:
    """Return the sum."""
    return reduce(
        lambda a, b: Depth(a.jobs + b.jobs, a.events + b.events, a.bytes + b.bytes), depths, Depth()
    )


def add_stats(stats: Sequence[QueueStats], gone: Sequence[int], processors: int) -> QueueStats:
    """
    Return the figures of the whole queue.

    Args:
        stats: Of each partition.
        gone: Totals of partitions that are gone, in the order of ``Ring.totals``.
        processors: How many there are: each is known to several partitions.
    """
    gone = tuple(gone) or (0,) * len(_TOTALS)
    accepted, delivered, failed, purged, moved = (
        sum(getattr(each, name) for each in stats) + more for name, more in zip(_TOTALS, gone, strict=True)
    )
    held = max(stats, key=lambda each: each.held_until, default=QueueStats())
    return QueueStats(
        waiting=add_depths(each.waiting for each in stats),
        delayed=add_depths(each.delayed for each in stats),
        leased=add_depths(each.leased for each in stats),
        failed=add_depths(each.failed for each in stats),
        oldest_age=max((each.oldest_age for each in stats), default=0.0),
        processors=processors,
        paused=any(each.paused for each in stats),
        accepted_events=accepted,
        delivered_events=delivered,
        failed_events=failed,
        purged_events=purged,
        moved_events=moved,
        held_until=held.held_until,
        held_because=held.held_because,
    )


def add_commits(results: Sequence[tuple[Part, CommitResult]], **more: tuple[str, ...]) -> CommitResult:
    """Return what became of one commit whose jobs went to several partitions; *more* gives ids of further jobs, by field."""
    names = [
        each.name
        for each in fields(CommitResult)
        if each.name not in ("accepted", "duplicates", "epoch", "advice")
    ]
    told = {
        name: tuple(job_id for _, result in results for job_id in getattr(result, name)) for name in names
    }
    return CommitResult(
        sum(result.accepted for _, result in results),
        sum(result.duplicates for _, result in results),
        epoch=join_epochs((part, result.epoch) for part, result in results),
        advice=next((result.advice for _, result in results if result.advice), ""),
        **{name: (*ids, *more.get(name, ())) for name, ids in told.items()},
    )


def join_epochs(epochs: Iterable[tuple[Part, str]]) -> str:
    """Return one epoch that names the partitions and the storage of each; that of the root alone is its own."""
    known = {part: epoch for part, epoch in epochs if epoch}
    if known.keys() == {ROOT}:
        return known[ROOT]
    return ";".join(f"{part}/{epoch}" for part, epoch in sorted(known.items()))


def split_epoch(epoch: str) -> dict[Part, str]:
    """Return the partitions that *epoch* names, with the epoch of each; nothing where it names none."""
    if epoch and "/" not in epoch:
        return {ROOT: epoch}
    found = {}
    for each in epoch.split(";"):
        name, _, own = each.partition("/")
        if (part := Part.read(name)) is not None:
            found[part] = own
    return found


def merge_fates(answers: Iterable[Mapping[str, Failure | None]]) -> dict[str, Failure | None]:
    """
    Return what became of jobs by the *answers* of all partitions in which they may be.

    A job that one partition knows is not lost because another one was emptied. One that none knows may have been in that one.
    """
    found: dict[str, Failure | None] = {}
    for answer in answers:
        for job_id, failure in answer.items():
            if job_id not in found or found[job_id] == LOST or failure is None:
                found[job_id] = failure
    return found


def merge_jobs(lists: Iterable[Sequence[Job]], limit: int, after: Job | None) -> list[Job]:
    """Return the first of the jobs of several lists, by their times and then by their ids, that stand behind *after*."""
    start = (-math.inf, "") if after is None else _key(after)
    return sorted((job for each in lists for job in each if _key(job) > start), key=_key)[:limit]


def _key(job: Job) -> tuple[float, str]:
    return (job.next_attempt_at if job.failed_at is None else job.failed_at) or 0.0, job.id


def place_job(job_id: str, state: JobState, stood: float | None) -> Job | str:
    """Return a job by which a list goes on where *job_id* stood at that time; its id alone where that is not known."""
    if stood is None:
        return job_id
    failed = state is JobState.FAILED
    return Job(
        id=job_id,
        state=state,
        events=0,
        bytes=0,
        attempts=0,
        reason=None,
        error=None,
        created_at=created_at_from_id(job_id),
        next_attempt_at=None if failed else stood,
        failed_at=stood if failed else None,
    )


def write_cursor(part: Part, cursor: str) -> str:
    """Return the cursor of a scan that goes on at *cursor* of *part*."""
    return f"{part}:{cursor}"


def read_cursor(cursor: str, parts: Sequence[Part]) -> tuple[Part, str]:
    """Return where a scan goes on: the partition of *cursor* or, where that is gone, the one behind it."""
    name, _, inner = cursor.partition(":")
    part = Part.read(name)
    if part is None or not parts:
        return parts[0], ""
    if part in parts:
        return part, inner
    return next((each for each in parts if each > part), parts[-1]), ""
