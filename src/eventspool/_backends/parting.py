"""
How jobs that name no partition get into a queue that keeps the order per user: batches out of another queue hold events of
several users, and each user's events belong into one partition.

Such a batch is cut into one for each partition. The ids of the parts are made from the id of the whole, so that a move that
was interrupted finds the parts that it had stored. Where the queue was divided anew meanwhile, it does not find them: then
their events are delivered twice, with the same ``messageId``.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from eventspool._envelope import EnvelopeError, open_envelope, seal
from eventspool._events.owner import owner_of
from eventspool._job import CommitResult, NewJob, created_at_from_id
from eventspool._routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from eventspool._backends.protocol import Backend
    from eventspool._job import Failure
    from eventspool._routing import Routing

__all__ = ["commit_foreign", "find_rest_by", "name_parts", "part_by_user"]

_ATTEMPTS: Final = 3
"""How often jobs are cut anew because the queue was divided anew meanwhile."""


def part_by_user(
    job: NewJob, routing: Routing, owner_of: Callable[[bytes], bytes] = owner_of
) -> list[NewJob]:
    """
    Return *job* as one job for each partition that its users belong to, their events in order. Pure.

    Args:
        job: A job of which nothing was delivered.
        routing: How the queue is divided.
        owner_of: Returns whose event it is.

    Raises:
        EnvelopeError: Its payload cannot be read.
    """
    groups: dict[int, list[bytes]] = {}
    lanes: dict[int, int] = {}
    for event in open_envelope(job.payload).split():
        partition, lane = routing.place(owner_of(event))
        groups.setdefault(partition, []).append(event)
        lanes[partition] = lanes.get(partition, 0) | 1 << lane
    return [
        replace(
            job,
            id=_part_id(job.id, Route(routing.generation, partition), lanes[partition]),
            payload=seal(events),
            events=len(events),
            progress="",
            failure=job.failure and replace(job.failure, events=len(events), indices=None, payload=None),
            route=Route(routing.generation, partition),
        )
        for partition, events in sorted(groups.items())
    ]


def _part_id(job_id: str, route: Route, lanes: int) -> str:
    digest = hashlib.sha256(f"{job_id} {route.generation} {route.partition}".encode(errors="surrogatepass"))
    return f"{int(created_at_from_id(job_id) * 1000):012x}{digest.hexdigest()[:16]}-{lanes:04x}"


def commit_foreign(
    target: Backend,
    jobs: Sequence[NewJob],
    find_rest: Callable[[NewJob], bytes | None] = lambda job: job.payload,
) -> CommitResult:
    """
    Store *jobs*, which come out of another queue, in *target*. One is stored where all of its parts are.

    Those that are to be tried again are all among the *rejected* ones of the answer.

    Args:
        target: The queue.
        jobs: The jobs.
        find_rest: Returns the payload with those events of a job that were not delivered yet.
    """
    result = target.commit(jobs)
    stale, by_id = set(result.stale), {job.id: job for job in jobs}
    accepted, duplicates, impossible = result.accepted, result.duplicates, list(result.impossible)
    for _ in range(_ATTEMPTS):
        routing = target.find_routing() if stale else None
        if routing is None:
            break
        parts = {
            job_id: _make_parts(by_id[job_id], routing, find_rest) for job_id in by_id if job_id in stale
        }
        told = target.commit([part for each in parts.values() for part in each])
        outdated, refused = set(told.stale), {*told.rejected, *told.away}
        for job_id, made in parts.items():
            ids = {part.id for part in made}
            if ids & outdated:
                continue
            stale.discard(job_id)
            if ids & refused:
                result = replace(result, rejected=(*result.rejected, job_id))
            elif ids & set(told.impossible):
                impossible.append(job_id)
            else:
                accepted += 1
        duplicates += _count_whole(parts.values(), told) if told.duplicates else 0
    return CommitResult(
        accepted,
        duplicates,
        (*result.rejected, *result.away, *stale),
        tuple(impossible),
        result.epoch,
    )


def name_parts(
    target: Backend,
    jobs: Sequence[NewJob],
    find_rest: Callable[[NewJob], bytes | None] = lambda job: job.payload,
) -> list[str]:
    """Return the ids under which ``commit_foreign`` has just stored *jobs* in *target*."""
    routing = target.find_routing()
    if routing is None:
        return [job.id for job in jobs]
    return [part.id for job in jobs for part in _make_parts(job, routing, find_rest)]


def _count_whole(made: Iterable[Sequence[NewJob]], told: CommitResult) -> int:
    """Return how many jobs were there already, where that is certain: all parts of all of them were."""
    parts = list(made)
    return len(parts) if told.duplicates == sum(map(len, parts)) else 0


def _make_parts(job: NewJob, routing: Routing, find_rest: Callable[[NewJob], bytes | None]) -> list[NewJob]:
    rest = find_rest(job) or job.payload
    try:
        return part_by_user(replace(job, payload=rest), routing)
    except (
        EnvelopeError
    ):  # whose events these are cannot be told: it goes to one partition as it is, and stops all lanes there
        return [replace(job, route=Route(routing.generation, 0))]


def find_rest_by(
    fail_rest: Callable[[str, str, bytes | None, str], Failure],
) -> Callable[[NewJob], bytes | None]:
    """Return the *find_rest* of ``commit_foreign`` that *fail_rest*, which knows what progress means, gives."""
    return lambda job: (
        fail_rest("moved", "", job.payload, job.progress).payload if job.progress else job.payload
    )
