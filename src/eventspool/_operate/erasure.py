"""
Take one user's events out of stored batches, and say which batches had to be left. An erasure is complete when none were.

A batch that is being sent, or was sent in part, must stay as it is: its processor knows its events by their positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventspool._envelope import Cut, EnvelopeError, open_envelope, seal
from eventspool._events.decoding import decode_event
from eventspool._events.encoding import without_surrogates
from eventspool._job import JobState
from eventspool._operate.selection import PURGEABLE, Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from eventspool._backends import Backend
    from eventspool._job import Job

__all__ = ["Erasure", "concerns", "erase_from"]

_USER_FIELDS = ("userId", "anonymousId", "previousId")


@dataclass(frozen=True, slots=True)
class Erasure:
    """
    What became of an erasure.

    Args:
        events: Events that were erased.
        rewritten: Jobs that hold the events of others, and were stored anew without theirs.
        removed: Jobs that held nothing else, and are gone.
        leased: Ids of jobs with events of the user that are being sent. Ask again when they have been sent.
        sent_in_part: Ids of jobs with events of the user of which a part was sent. Ask again when the rest has been sent.
        unreadable: Ids of jobs that cannot be read: it is not known whose events they hold. Give the key, or purge them.
        looked_at: Jobs that were looked at.
    """

    events: int = 0
    rewritten: int = 0
    removed: int = 0
    leased: tuple[str, ...] = ()
    sent_in_part: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    looked_at: int = 0

    @property
    def is_complete(self) -> bool:
        """No job that holds events of the user, or may hold some, was left."""
        return not (self.leased or self.sent_in_part or self.unreadable)


def concerns(event: bytes, user_id: str) -> bool | None:
    """Say whether *event* is about the user; ``None`` where it cannot be read."""
    try:
        fields = decode_event(event)
    except ValueError:
        return None
    wanted = without_surrogates(user_id)  # the id's form in stored events
    return any(fields.get(name) == wanted for name in _USER_FIELDS)


def erase_from(
    backend: Backend,
    jobs: Iterable[Job],
    user_id: str,
    *,
    dry_run: bool = False,
    on_job: Callable[[int], object] = lambda jobs: None,  # noqa: ARG005
) -> Erasure:
    """
    Erase a user's events from *jobs*.

    Args:
        backend: The queue that holds them.
        jobs: The jobs as they were listed; they may have changed their state since.
        user_id: Only events whose ``userId``, ``anonymousId`` or ``previousId`` this is.
        dry_run: Only count. A batch that was sent in part is then counted as one that can be changed, because only the attempt
            to change it would tell.
        on_job: Called with 1 for every job that was looked at.
    """
    events = rewritten = removed = looked_at = 0
    leased: list[str] = []
    refused: list[str] = []
    unreadable: list[str] = []
    for job in jobs:
        looked_at += 1
        on_job(1)
        payload = backend.payload(job.id)
        if payload is None:
            continue
        try:
            stored = open_envelope(payload).split()
        except EnvelopeError:
            unreadable.append(job.id)
            continue
        theirs = [concerns(event, user_id) for event in stored]
        if None in theirs:
            unreadable.append(job.id)
            continue
        kept = [place for place, is_theirs in enumerate(theirs) if not is_theirs]
        if len(kept) == len(stored):
            continue
        if dry_run and job.state is JobState.LEASED:
            leased.append(job.id)
        elif dry_run or (_rewrite(backend, job.id, payload, kept) if kept else _remove(backend, job.id)):
            events += len(stored) - len(kept)
            rewritten += bool(kept)
            removed += not kept
        else:
            refused.append(job.id)
    if refused:
        stored_still = backend.lookup(refused)  # the other jobs were delivered or purged meanwhile
        refused = [job_id for job_id in refused if job_id in stored_still]
        leases = Selection((JobState.LEASED,), tuple(refused)).pages(backend) if refused else ()
        held = {job.id for page in leases for job in page}
        leased += [job_id for job_id in refused if job_id in held]
        refused = [job_id for job_id in refused if job_id not in held]
    return Erasure(
        events, rewritten, removed, tuple(leased), tuple(refused), tuple(unreadable), looked_at=looked_at
    )


def _remove(backend: Backend, job_id: str) -> bool:
    return any(backend.purge(state, [job_id]) for state in PURGEABLE)


def _rewrite(backend: Backend, job_id: str, payload: bytes, kept: list[int]) -> bool:
    """Store the batch anew with only the events at the places *kept*, and record in it that the others were purged."""
    envelope = open_envelope(payload)
    events = envelope.split()
    cut = (envelope.cut or Cut(b"h" * len(events))).keep(kept, Cut.PURGED)
    left = [events[place] for place in kept]
    rest = seal(left, cut=cut)
    if len(rest) == len(payload):
        # A producer may still have the old payload in memory, and notices by the size alone that it was replaced.
        rest = seal(left, compress=False, cut=cut)
    return backend.rewrite(job_id, payload, rest, len(left), cut.purged)
