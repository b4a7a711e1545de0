"""
Which jobs of a queue are meant, and the one walk over its lists.

Operators select jobs from the command line, from the dashboard and from their own programs. All of these use ``Selection``,
so that the same conditions mean the same jobs everywhere. Lists are read page by page, because a failed queue may hold
millions of jobs and no program should need memory for all of them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar

from eventspool._config import require_number
from eventspool._exceptions import ConfigError
from eventspool._job import JobState, created_at_from_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eventspool._backends import Backend
    from eventspool._job import Job

__all__ = ["PAGE", "PURGEABLE", "STATES", "Selection", "state_of", "walk"]

PAGE = 500
"""Jobs that are read or changed in one step."""
STATES = tuple(JobState)
PURGEABLE = (JobState.FAILED, JobState.DELAYED, JobState.WAITING)
"""States whose jobs may be deleted: a leased job is being sent."""

_T = TypeVar("_T")


class Lists(Protocol):
    """What can list jobs: a backend, or an operator's ``Queue``."""

    def jobs(self, state: JobState, *, limit: int, after: Job | str | None = None) -> list[Job]:
        """List jobs in *state*, starting behind *after*."""


@dataclass(frozen=True, slots=True)
class Selection:
    """
    The jobs that meet every condition given.

    Args:
        states: They are in one of these states.
        ids: They are among these; ``None`` means any job.
        reason: They failed for this reason.
        older_than: They were created more than this number of seconds before *now*. A job of unknown age was not.
        now: The moment of the selection, in seconds since the epoch.
        most: They are among this number of first jobs of their state's list; ``None`` means the whole list. What joins the
            list meanwhile, such as a job that was retried and has failed again, stands behind those.

    Raises:
        ConfigError: *older_than* is not a number of seconds.
    """

    states: tuple[JobState, ...]
    ids: Sequence[str] | None = None
    reason: str | None = None
    older_than: float | None = None
    now: float = field(default_factory=time.time)
    most: int | None = None

    def __post_init__(self) -> None:
        if self.older_than is not None:
            require_number("older_than", self.older_than, 0)

    @property
    def is_everything(self) -> bool:
        """No condition but the state is given."""
        return self.ids is None and self.reason is None and self.older_than is None

    def matches(self, job: Job) -> bool:
        """Say whether *job* failed for the reason and is old enough, where that is asked for."""
        return (self.reason is None or job.reason == self.reason) and self._is_old_enough(job.created_at)

    def _is_old_enough(self, created_at: float) -> bool:
        return self.older_than is None or 0 < created_at < self.now - self.older_than

    def pages(self, source: Lists) -> Iterator[list[Job]]:
        """
        Yield the jobs as the queue lists them, state by state and page by page; a page may be empty.

        The caller may take the jobs of a page out of their list. A job that changes its state meanwhile may come twice.
        """
        # Only a failed job has a reason.
        states = [state for state in self.states if self.reason is None or state is JobState.FAILED]
        if self.ids is None:
            for state in dict.fromkeys(states):
                for page in self._read(source, state):
                    yield list(filter(self.matches, page))
            return
        wanted = set(self.ids)
        for state in states:
            for page in self._read(source, state):
                if not wanted:
                    return
                # A job that does not match here may match in another state a moment later: it is looked for again there.
                found = [job for job in page if job.id in wanted and self.matches(job)]
                wanted.difference_update(job.id for job in found)
                yield found

    def _read(self, source: Lists, state: JobState) -> Iterator[list[Job]]:
        left = self.most
        for page in _read_ahead(walk(source, state)):
            yield page[:left]
            if left is not None:
                left -= len(page)
                if left <= 0:
                    return

    def scanned(self, backend: Backend) -> Iterator[list[str]]:
        """
        Yield the ids of the jobs in any state, of which neither ids nor a reason are given, page by page and in no order.

        Unlike a walk over one list after the other, this misses no job that changes its state meanwhile. A job may come twice.
        """
        cursor = ""
        while True:
            found, cursor = backend.scan(cursor)
            for start in range(0, len(found), PAGE):
                page = found[start : start + PAGE]
                yield [job_id for job_id in page if self._is_old_enough(created_at_from_id(job_id))]
            if not cursor:
                return

    def pages_of_ids(self, backend: Backend) -> Iterator[list[str]]:
        """
        Yield the ids of the jobs, page by page.

        Where ids are given no list is read, so a few jobs are found at once among millions; the caller must then look at the
        states.
        """
        if self.ids is None:
            for jobs in self.pages(backend):
                yield [job.id for job in jobs]
            return
        ids = iter(dict.fromkeys(self.ids))
        while page := list(islice(ids, PAGE)):
            if self.reason is not None:
                found = backend.lookup(page)
                page = [i for i in page if (failure := found.get(i)) and failure.reason == self.reason]
            yield [job_id for job_id in page if self._is_old_enough(created_at_from_id(job_id))]


def state_of(name: str) -> JobState:
    """Return the state called *name*. Raises ``ConfigError`` where there is none."""
    try:
        return JobState(name)
    except ValueError:
        raise ConfigError(f"unknown state {name!r}; known are {', '.join(STATES)}") from None


def walk(
    source: Lists, state: JobState, *, after: Job | str | None = None, size: int = PAGE
) -> Iterator[list[Job]]:
    """Yield the jobs in *state* behind *after*, *size* at a time. The last page has fewer, perhaps none."""
    while True:
        page = source.jobs(state, limit=size, after=after)
        yield page
        if len(page) < size:
            return
        after = page[-1]


def _read_ahead(pages: Iterator[_T]) -> Iterator[_T]:
    """
    Yield each of *pages* only after the next one was read.

    A list goes on behind the last job of a page. If the caller took that job out first, the queue would no longer know where.
    """
    held = next(pages, None)
    while held is not None:
        following = next(pages, None)
        yield held
        held = following
