"""
How jobs that name no partition get into a queue that keeps the order per user: batches out of another queue hold events of
several users, and each user's events belong into one partition.

Such a batch is cut into one for each partition; where all of it belongs into one, it stays the job that it is. The ids of the
parts are made from the id of the whole, so that a move that was interrupted finds the parts that it had stored. Where the
queue was divided anew meanwhile, it does not find them: then their events are delivered twice, with the same ``messageId``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from eventspool._envelope import EnvelopeError, open_envelope, seal
from eventspool._events.owner import owner_of
from eventspool._job import CommitResult, NewJob, created_at_from_id, lanes_of
from eventspool._routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from eventspool._backends.protocol import Backend
    from eventspool._envelope import Cut
    from eventspool._job import Failure
    from eventspool._routing import Routing

__all__ = ["Placed", "StoredParts", "commit_foreign", "find_rest_by", "name_parts", "part_by_user"]

_ATTEMPTS: Final = 3
"""How often jobs are cut anew because the queue was divided anew meanwhile."""


@dataclass(frozen=True, slots=True)
class Placed:
    """
    The jobs that took the place of one in its target.

    Args:
        parts: Id, number of events, and epoch of the storage that took it, of each.
        order: The places that their events, one part after another, had in the whole.
        rest: Id of the last part where it stands for the events that were taken out of the whole before: it is stored
            nowhere, and has ended. "" where nothing was taken out.
        purged: Which events of the *rest* were erased; the others were delivered.
    """

    parts: Sequence[tuple[str, int, str]]
    order: Sequence[int]
    rest: str = ""
    purged: tuple[int, ...] = ()


@dataclass(slots=True)
class StoredParts:
    """
    What a mover knows of the parts of its jobs.

    Args:
        epochs: Of each job that waits for one of its parts: the parts that are stored already, by id, and the epoch of each.
            They are not stored again, for they may have been delivered meanwhile.
        placed: What took the place of each job that the last commit has stored, where that was told where it belongs.
    """

    epochs: dict[str, dict[str, str]] = field(default_factory=dict)
    placed: dict[str, Placed] = field(default_factory=dict)

    def keep(self, ids: Iterable[str]) -> None:
        """Forget all jobs but these, which are tried again."""
        self.epochs = {job_id: self.epochs[job_id] for job_id in ids if job_id in self.epochs}
        self.placed = {}


def part_by_user(
    job: NewJob, routing: Routing, owner_of: Callable[[bytes], bytes] = owner_of
) -> list[NewJob]:
    """
    Return *job* as one job for each partition that its users belong to, their events in order. Pure.

    One whose users all belong to one partition, to lanes that its id names, stays the job that it is.

    Args:
        job: A job of which nothing was delivered.
        routing: How the queue is divided.
        owner_of: Returns whose event it is.

    Raises:
        EnvelopeError: Its payload cannot be read.
    """
    return _part(job, routing, owner_of).parts


class _Made(NamedTuple):
    """The parts of a job, the places of their events in it, one part after another, and what was taken out of it before."""

    parts: list[NewJob]
    order: list[int]
    cut: Cut | None = None

    def place(self, job_id: str, epochs: Mapping[str, str]) -> Placed:
        """Return what took the place of the job, since the *epochs* of its parts."""
        parts = [(part.id, part.events, epochs[part.id]) for part in self.parts]
        if self.cut is None or [part.id for part in self.parts] == [job_id]:
            return Placed(parts, self.order)
        order = [self.cut.here[at] for at in self.order]
        gone = sorted({*range(len(self.cut.fates))} - {*order})
        purged = tuple(at for at, place in enumerate(gone) if place in self.cut.purged)
        rest = f"{job_id}~"
        return Placed([*parts, (rest, len(gone), "")], [*order, *gone], rest, purged)


def _part(job: NewJob, routing: Routing, owner_of: Callable[[bytes], bytes] = owner_of) -> _Made:
    """Cut *job* as ``part_by_user`` does."""
    groups: dict[int, list[int]] = {}
    lanes: dict[int, int] = {}
    envelope = open_envelope(job.payload)
    events = envelope.split()
    for at, event in enumerate(events):
        partition, lane = routing.place(owner_of(event))
        groups.setdefault(partition, []).append(at)
        lanes[partition] = lanes.get(partition, 0) | 1 << lane
    if len(groups) == 1 and not job.progress:
        [(partition, own)] = lanes.items()
        if not own & ~lanes_of(job.id):
            return _Made([replace(job, route=Route(routing.generation, partition))], list(range(len(events))))
    parts = [
        replace(
            job,
            id=_part_id(job.id, Route(routing.generation, partition), lanes[partition]),
            payload=seal([events[at] for at in places]),
            events=len(places),
            progress="",
            failure=job.failure and replace(job.failure, events=len(places), indices=None, payload=None),
            route=Route(routing.generation, partition),
        )
        for partition, places in sorted(groups.items())
    ]
    return _Made(parts, [at for _, places in sorted(groups.items()) for at in places], envelope.cut)


def _part_id(job_id: str, route: Route, lanes: int) -> str:
    digest = hashlib.sha256(f"{job_id} {route.generation} {route.partition}".encode(errors="surrogatepass"))
    return f"{int(created_at_from_id(job_id) * 1000):012x}{digest.hexdigest()[:16]}-{lanes:04x}"


def commit_foreign(
    target: Backend,
    jobs: Sequence[NewJob],
    find_rest: Callable[[NewJob], bytes | None] = lambda job: job.payload,
    stored: StoredParts | None = None,
) -> CommitResult:
    """
    Store *jobs*, which come out of another queue, in *target*. One is stored where all of its parts are.

    Those that are to be tried again are all among the *rejected* ones of the answer.

    Args:
        target: The queue.
        jobs: The jobs.
        find_rest: Returns the payload with those events of a job that were not delivered yet.
        stored: What earlier calls have stored of jobs that were rejected. It is told what this one stores.
    """
    known = StoredParts() if stored is None else stored
    result = target.commit(jobs)
    stale, by_id = set(result.stale), {job.id: job for job in jobs}
    accepted, duplicates, impossible = result.accepted, result.duplicates, list(result.impossible)
    rejected, epoch = list(result.rejected), result.epoch
    for _ in range(_ATTEMPTS):
        routing = target.find_routing() if stale else None
        if routing is None:
            break
        made = {job_id: _make_parts(by_id[job_id], routing, find_rest) for job_id in by_id if job_id in stale}
        told = target.commit(_find_missing(made, known))
        epoch = epoch or told.epoch  # that of the parts is told with each of them
        outdated, refused = set(told.stale), {*told.rejected, *told.away}
        for job_id, each in made.items():
            ids = {part.id for part in each.parts}
            if ids & outdated:
                continue
            stale.discard(job_id)
            epochs = dict.fromkeys(ids - refused, told.epoch) | known.epochs.get(job_id, {})
            if ids & refused:
                rejected.append(job_id)
                known.epochs[job_id] = epochs
            elif ids & set(told.impossible):
                impossible.append(job_id)
            else:
                accepted += 1
                known.placed[job_id] = each.place(job_id, epochs)
        duplicates += _count_whole([each.parts for each in made.values()], told) if told.duplicates else 0
    return CommitResult(accepted, duplicates, (*rejected, *result.away, *stale), tuple(impossible), epoch)


def _find_missing(made: Mapping[str, _Made], known: StoredParts) -> list[NewJob]:
    """Return the parts that the target does not have by what is *known*."""
    return [
        part
        for job_id, each in made.items()
        for part in each.parts
        if part.id not in known.epochs.get(job_id, ())
    ]


def name_parts(
    target: Backend,
    jobs: Sequence[NewJob],
    find_rest: Callable[[NewJob], bytes | None] = lambda job: job.payload,
) -> list[str]:
    """Return the ids under which ``commit_foreign`` has just stored *jobs* in *target*."""
    routing = target.find_routing()
    if routing is None:
        return [job.id for job in jobs]
    return [part.id for job in jobs for part in _make_parts(job, routing, find_rest).parts]


def _count_whole(made: Iterable[Sequence[NewJob]], told: CommitResult) -> int:
    """Return how many jobs were there already, where that is certain: all parts of all of them were."""
    parts = list(made)
    return len(parts) if told.duplicates == sum(map(len, parts)) else 0


def _make_parts(job: NewJob, routing: Routing, find_rest: Callable[[NewJob], bytes | None]) -> _Made:
    """Cut what is left of *job*."""
    rest = find_rest(job) or job.payload
    try:
        return _part(replace(job, payload=rest), routing)
    except (
        EnvelopeError
    ):  # whose events these are cannot be told: it goes to one partition as it is, and stops all lanes there
        return _Made([replace(job, route=Route(routing.generation, 0))], list(range(job.events)))


def find_rest_by(
    fail_rest: Callable[[str, str, bytes | None, str], Failure],
) -> Callable[[NewJob], bytes | None]:
    """Return the *find_rest* of ``commit_foreign`` that *fail_rest*, which knows what progress means, gives."""
    return lambda job: (
        fail_rest("moved", "", job.payload, job.progress).payload if job.progress else job.payload
    )
