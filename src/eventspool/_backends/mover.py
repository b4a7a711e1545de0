"""
Takes jobs out of one queue into another, some at a time: for ``queue move``, and for the spill file.

The mover is one more processor of the source: it leases jobs, but instead of sending them it commits them to the target,
under the same id and with all that they went through. Once they are stored there, it has the source forget them. Wherever
the mover is killed, a job is in the source, or in both. Then its lease runs out, which costs no attempt, and the next step
finds the job in the target already. If the target has delivered it meanwhile, it is delivered twice, with the same
``messageId``.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eventspool._backends.parting import StoredParts, commit_foreign, find_rest_by, name_parts
from eventspool._claim import ClaimTerms, new_token
from eventspool._envelope import OVERSIZED, count_events
from eventspool._job import Failure, JobState, NewJob, Settlement, SettlementKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eventspool._backends.parting import Placed
    from eventspool._backends.protocol import Backend
    from eventspool._claim import ClaimedJob
    from eventspool._job import CommitResult, Job

__all__ = ["Mover", "Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """
    What one step has done.

    Args:
        moved: Jobs that are in the target now, and no longer in the source.
        known: How many of them the target had already, because an earlier move was interrupted.
        failed: Jobs that can never be in the target -> why. They are in the source's failed queue now.
        left: Ids that did not fit into the target. They wait in the source, as before.
        wait: If there was nothing to move: seconds until there may be something; ``None`` if time alone brings nothing.
    """

    moved: Sequence[NewJob] = ()
    known: int = 0
    failed: Mapping[str, Failure] = field(default_factory=dict)
    left: Sequence[str] = ()
    wait: float | None = None

    @property
    def is_idle(self) -> bool:
        """There was nothing to move."""
        return not (self.moved or self.failed or self.left)


_UNREADABLE = Failure(
    "missing", "the queue lists this batch, but its payload is gone or too large to be read", 0
)


class Mover:
    """
    Moves jobs from *source* to *target*.

    Args:
        source: Where they are, open.
        target: Where they go, open.
        limit: Most jobs of one step.
        lease: Seconds after which another mover may take over the jobs of one that died.
        fail_rest: Returns the failure of a batch's undelivered events, from the reason, a sentence, the payload and the
            progress. A batch that the target can never take may have been delivered in part.
        remember: Have the source remember that a job was moved, for producers that look for it.
        on_stored: Called before the source forgets them with the jobs that the target has stored, its epoch and, by the ids
            of those that went where their users belong, what took the place of each.
        at_source: Entered around each call to the source.
        at_target: Entered around each call to the target.
    """

    def __init__(
        self,
        source: Backend,
        target: Backend,
        *,
        limit: int,
        lease: float,
        fail_rest: Callable[[str, str, bytes | None, str], Failure],
        remember: bool = True,
        on_stored: Callable[[Sequence[NewJob], str, Mapping[str, Placed]], object] | None = None,
        at_source: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        at_target: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._source = source
        self._target = target
        self._limit = limit
        self._lease = lease
        self._fail_rest = fail_rest
        self._remember = remember
        self._on_stored = on_stored
        self._stored = StoredParts()
        self._at_source = at_source
        self._at_target = at_target
        self.token = new_token()

    def step(self) -> Step:
        """
        Move the next unfinished jobs, as many as there are and one step takes.

        Raises:
            QueueError: The source or the target cannot be used. What was leased stays leased until ``leave``, or until
                the lease ends.
        """
        with self._at_source():
            claim = self._source.claim(
                self.token, ClaimTerms(limit=self._limit, visibility_timeout=self._lease, sending=False)
            )
        if not claim.jobs:
            return Step(wait=claim.wait)
        failed = {job.id: _UNREADABLE for job in claim.jobs if job.payload in (None, OVERSIZED)}
        jobs = [_unfinished(job) for job in claim.jobs if job.id not in failed]
        result = self._commit(jobs, self._stored)
        failed |= {job.id: self._too_large(job) for job in jobs if job.id in result.impossible}
        moved = [job for job in jobs if job.id not in result.rejected and job.id not in failed]
        if self._on_stored is not None:
            self._on_stored(moved, result.epoch, self._stored.placed)
        self._stored.keep(result.rejected)
        with self._at_source():
            self._settle(claim.jobs, failed, result.rejected)
            self._source.pass_on([job.id for job in moved], remember=self._remember)
        return Step(moved, result.duplicates, failed, result.rejected)

    def _commit(self, jobs: Sequence[NewJob], stored: StoredParts | None = None) -> CommitResult:
        with self._at_target():
            return commit_foreign(self._target, jobs, find_rest_by(self._fail_rest), stored)

    def _settle(
        self, claimed: Sequence[ClaimedJob], failed: Mapping[str, Failure], left: Sequence[str]
    ) -> None:
        settlements = [
            Settlement(job.id, SettlementKind.FAIL, failure=failed[job.id])
            if job.id in failed
            else Settlement(job.id, SettlementKind.RELEASE, progress=job.progress)
            for job in claimed
            if job.id in failed or job.id in left
        ]
        if settlements:
            self._source.settle(self.token, settlements)

    def _too_large(self, job: NewJob) -> Failure:
        error = "the queue that this batch was to be moved to can never take it: it is larger than that queue may be"
        return self._fail_rest("too_large", error, job.payload, job.progress)

    def step_failed(self, after: str | None) -> tuple[Step, str | None] | None:
        """
        Move the next failed jobs; they stay failed, for the same reason and since the same time.

        Args:
            after: Begin behind this job: those before it cannot be moved.

        Returns:
            What was done, and the job behind which the next call begins; ``None`` if there was none left to try.
        """
        with self._at_source():
            page = self._source.jobs(JobState.FAILED, limit=self._limit, after=after)
            jobs = [job for job in map(self._failed, page) if job is not None]
        if not jobs:
            return (Step(), page[-1].id) if page else None
        result = self._commit(jobs)
        stored = [job for job in jobs if job.id not in (*result.rejected, *result.impossible)]
        with self._at_source():
            # A failed job has no lease: an operator may have purged it meanwhile, or erased events from it.
            altered = [job for job in stored if self._source.payload(job.id) != job.payload]
        changed = [job.id for job in altered]
        with self._at_target():
            parts = name_parts(self._target, altered, find_rest_by(self._fail_rest))
            self._target.purge(JobState.FAILED, [*changed, *parts])
        moved = [job for job in stored if job.id not in changed]
        with self._at_source():
            self._source.pass_on([job.id for job in moved], remember=self._remember)
        tried = {job.id for job in moved} | set(changed) | set(result.rejected)
        stuck = [job.id for job in page if job.id not in tried]
        return Step(moved, result.duplicates, left=result.rejected), stuck[-1] if stuck else after

    def _failed(self, job: Job) -> NewJob | None:
        failure, payload = self._source.lookup([job.id]).get(job.id), self._source.payload(job.id)
        if failure is None or not payload or payload == OVERSIZED:
            return None
        return NewJob(
            job.id,
            payload,
            job.events,
            job.attempts,
            failure=failure,
            failed_at=job.failed_at or 0.0,
            is_foreign=True,
        )

    def leave(self) -> None:
        """Give every lease back to the source."""
        with self._at_source():
            self._source.leave(self.token)


def _unfinished(job: ClaimedJob) -> NewJob:
    payload = job.payload or b""
    return NewJob(job.id, payload, count_events(payload), job.attempts, job.progress, is_foreign=True)
