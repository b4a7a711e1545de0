"""
The jobs that were made and are not stored yet, in order, and which of them may go next. Pure: moments come in.

A partition that cannot be reached, or that is full, holds up its own jobs and no others. So jobs stay in one list, and those
of such a partition are left out of what goes next. When its time has come they are tried by themselves, behind what can go:
a server that does not answer keeps a commit waiting.

Jobs of a newer division of the queue wait until those before them, which were made for an older one, are stored or made anew:
a user's partition is another one in each.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from eventspool._retry import compute_backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from eventspool._job import CommitResult, NewJob
    from eventspool._routing import Route

__all__ = ["FULL_PAUSE", "Outbox"]

FULL_PAUSE = 0.25
"""Seconds after which a queue, or a partition, that was full is tried again."""
_BACKOFF_INITIAL, _BACKOFF_MAX = 0.1, 1.0


class _Block(NamedTuple):
    """
    A partition takes nothing at present.

    Args:
        until: The moment at which it is tried again.
        failures: Times in a row that it could not be reached; 0 where it is full.
        since: When it could not be reached first.
        file_too: The spill file, which is to take its jobs, takes none either.
    """

    until: float
    failures: int = 0
    since: float = 0.0
    file_too: bool = False


class Outbox:
    """Keeps jobs in order until they are stored."""

    def __init__(self) -> None:
        self.jobs: list[NewJob] = []
        self._blocks: dict[Route, _Block] = {}

    @property
    def events(self) -> int:
        """How many events are in its jobs."""
        return sum(job.events for job in self.jobs) if self.jobs else 0

    # -- what goes next ------------------------------------------------------------------------------------------------

    def next_group(
        self, now: float, most: int, is_filed: Callable[[Route], bool] = lambda _: False
    ) -> list[NewJob]:
        """
        Return the jobs to commit next, all of one partition as far as they have one; nothing where none may go now.

        Args:
            now: The present moment.
            most: How many jobs at most.
            is_filed: Says whether the spill file takes the jobs of a partition.
        """
        if not self.jobs:
            return []
        if not self._blocks or self.jobs[0].route is None:
            return _first_of_one_partition(self.jobs, most)
        free = (job for job in self._eligible() if self._is_free(job.route, is_filed))
        return _first_of_one_partition(free, most) or _first_of_one_partition(self._due_again(now), most)

    def _is_free(self, route: Route | None, is_filed: Callable[[Route], bool]) -> bool:
        block = None if route is None else self._blocks.get(route)
        return block is None or (route is not None and not block.file_too and is_filed(route))

    def _eligible(self) -> Iterator[NewJob]:
        """Yield the jobs that no earlier one of another division holds up."""
        first = self.jobs[0].route
        for job in self.jobs:
            if first is None or job.route is None or job.route.generation != first.generation:
                return
            yield job

    def _due_again(self, now: float) -> Iterator[NewJob]:
        """Yield the jobs of a partition that is to be tried again."""
        found: Route | None = None
        for job in self._eligible():
            if found is None and job.route is not None and self._blocks[job.route].until <= now:
                found = job.route
            if found is not None and job.route == found:
                yield job

    def is_held_up(self, now: float) -> bool:
        """No job may go now: there is none, or each waits for its partition."""
        return not self.jobs or (bool(self._blocks) and not self.next_group(now, 1))

    def retry_at(self, now: float) -> float:
        """Return the moment at which a job may go."""
        if not (self.jobs and self._blocks) or self.next_group(now, 1):
            return now
        waited_for = {job.route for job in self._eligible()}
        return min(block.until for route, block in self._blocks.items() if route in waited_for)

    # -- what became of it ---------------------------------------------------------------------------------------------

    def take_off(self, ids: Collection[str]) -> None:
        """Forget jobs that are stored, or given up."""
        count = len(ids)
        if [job.id for job in self.jobs[:count]] == list(ids):  # nearly always
            del self.jobs[:count]
        else:
            self.jobs[:] = [job for job in self.jobs if job.id not in ids]

    def note(self, group: Sequence[NewJob], result: CommitResult, now: float, jitter: float) -> None:
        """Note which partitions have taken none of a *group*, to try them again later."""
        away, full = set(result.away), set(result.rejected)
        for route in {job.route for job in group if job.route is not None}:
            ids = [job.id for job in group if job.route == route]
            if not away.isdisjoint(ids):
                before = self._blocks.get(route)
                failures = 1 + (before.failures if before is not None else 0)
                since = before.since if before is not None and before.failures else now
                pause = compute_backoff(failures, _BACKOFF_INITIAL, _BACKOFF_MAX, jitter)
                self._blocks[route] = _Block(now + pause, failures, since)
            elif not full.isdisjoint(ids):
                self._blocks[route] = _Block(now + FULL_PAUSE)
            else:
                self._blocks.pop(route, None)

    def hold_up(self, route: Route, until: float) -> None:
        """Leave a partition alone until then."""
        self._blocks[route] = _Block(until)

    def hasten(self) -> None:
        """Try every partition again now: a caller waits."""
        for route, block in list(self._blocks.items()):
            self._blocks[route] = block._replace(until=0.0)

    def note_file(self, route: Route, now: float, *, has_room: bool) -> None:
        """Note whether the spill file has taken jobs of a partition: then the queue is asked again when the file is empty."""
        if has_room:
            self._blocks.pop(route, None)
        else:
            self._blocks[route] = _Block(now + FULL_PAUSE, file_too=True)

    @property
    def away(self) -> dict[Route, float]:
        """The partitions that cannot be reached, and since when, of those that jobs wait for."""
        if not self._blocks:
            return {}
        away = {route: block.since for route, block in self._blocks.items() if block.failures}
        waited_for = {job.route for job in self.jobs} if away else ()
        return {route: since for route, since in away.items() if route in waited_for}

    # -- other jobs in their place -------------------------------------------------------------------------------------

    def put_first(self, jobs: Sequence[NewJob]) -> None:
        """Put jobs before all others, but for those that are here already: what another queue has given."""
        known = {job.id for job in self.jobs}
        self.jobs[:] = [*(job for job in jobs if job.id not in known), *self.jobs]

    def put_last(self, job: NewJob) -> None:
        """Put a job behind all others. May be repeated."""
        if not (self.jobs and self.jobs[-1].id == job.id):
            self.jobs.append(job)

    def replace(self, old: Collection[str], new: Sequence[NewJob]) -> None:
        """Put the *new* jobs in the place of the first of the *old* ones, which follow each other. May be repeated."""
        kept = [job for job in self.jobs if job.id not in old]
        if len(kept) < len(self.jobs):
            at = next(at for at, job in enumerate(self.jobs) if job.id in old)
            self.jobs[:] = [*self.jobs[:at], *new, *kept[at:]]


def _first_of_one_partition(jobs: Iterable[NewJob], most: int) -> list[NewJob]:
    group: list[NewJob] = []
    for job in islice(jobs, most):
        if group and job.route != group[0].route:
            break
        group.append(job)
    return group
