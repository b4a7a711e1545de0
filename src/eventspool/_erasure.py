"""
Take one user's events out of stored batches, and say which batches had to be left: an erasure is complete when none are.

What is being sent, or was sent in part, must stay as it is: whoever sends it goes by the positions of its events.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventspool._envelope import EnvelopeError, open_envelope, seal
from eventspool._job import JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from eventspool._backends import Backend
    from eventspool._job import Job

__all__ = ["Erasure", "concerns", "erase_from"]

_USER_FIELDS = ("userId", "anonymousId", "previousId")
_PAGE = 500
_ERASABLE = (JobState.WAITING, JobState.DELAYED, JobState.FAILED)


@dataclass(frozen=True, slots=True)
class Erasure:
    """
    What became of an erasure.

    Args:
        events: Events that were erased.
        rewritten: Jobs that hold the events of others, and were stored anew without theirs.
        removed: Jobs that held nothing else, and are gone.
        leased: Ids of jobs with their events that are being sent. Ask again when they have been.
        sent_in_part: Ids of jobs with their events that wait to be sent on. Ask again when they have been.
        unreadable: Ids of jobs of which nobody knows whose events they hold. Give the key, or purge them.
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
        """No job that holds their events, or may hold them, was left."""
        return not (self.leased or self.sent_in_part or self.unreadable)


def concerns(event: bytes, user_id: str) -> bool | None:
    """Say whether *event* is one of the user's; ``None`` where it cannot be read."""
    try:
        fields = json.loads(event)
    except (ValueError, RecursionError):
        return None
    return isinstance(fields, dict) and any(fields.get(name) == user_id for name in _USER_FIELDS)


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
        backend: Where they are.
        jobs: As they were listed; they may have changed their state since.
        user_id: Only events whose ``userId``, ``anonymousId`` or ``previousId`` this is.
        dry_run: Only count. What was sent in part is then counted as if it could be changed: nothing but trying tells.
        on_job: Told of every job that was looked at.
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
        kept = [event for event, is_theirs in zip(stored, theirs, strict=True) if not is_theirs]
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
        stored_still = backend.lookup(refused)  # the others were delivered or purged
        refused = [job_id for job_id in refused if job_id in stored_still]
        held = _leased_ids(backend) if refused else set()
        leased += [job_id for job_id in refused if job_id in held]
        refused = [job_id for job_id in refused if job_id not in held]
    return Erasure(
        events, rewritten, removed, tuple(leased), tuple(refused), tuple(unreadable), looked_at=looked_at
    )


def _remove(backend: Backend, job_id: str) -> bool:
    return any(backend.purge(state, [job_id]) for state in _ERASABLE)


def _rewrite(backend: Backend, job_id: str, payload: bytes, kept: list[bytes]) -> bool:
    rest = seal(kept)
    if len(rest) == len(payload):
        # A producer that remembers a payload knows by its size that it was replaced.
        rest = seal(kept, compress=False)
    return backend.rewrite(job_id, payload, rest, len(kept))


def _leased_ids(backend: Backend) -> set[str]:
    found: set[str] = set()
    after = None
    while page := backend.jobs(JobState.LEASED, limit=_PAGE, after=after):
        found.update(job.id for job in page)
        after = page[-1].id
        if len(page) < _PAGE:
            break
    return found
