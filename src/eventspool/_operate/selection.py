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
from typing import TYPE_CHECKING, Protocol, TypedDict, TypeVar, cast

from eventspool._config import require_number
from eventspool._exceptions import ConfigError
from eventspool._job import JobState, created_at_from_id
from eventspool._operate.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eventspool._backends import Backend
    from eventspool._job import Failure, Job

__all__ = ["PAGE", "PURGEABLE", "STATES", "Conditions", "Selection", "state_of", "walk"]

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


class Conditions(TypedDict, total=False):
    """The conditions that operators' programs may give besides ids and a reason; ``Selection`` says what each means."""

    error: str | None
    event: str | None
    user_id: str | None
    message_id: str | None
    text: str | None
    older_than: float | None
    newer_than: float | None
    limit: int | None


@dataclass(frozen=True, slots=True)
class Selection:
    """
    The jobs that meet every condition given. Those about events are met by a job of which one event meets all of these.

    Args:
        states: They are in one of these states.
        ids: They are among these; ``None`` means any job.
        reason: They failed for this reason.
        older_than: They were created more than this number of seconds before *now*. A job of unknown age was not.
        now: The moment of the selection, in seconds since the epoch.
        most: They are among this number of first jobs of their state's list; ``None`` means the whole list. What joins the
            list meanwhile, such as a job that was retried and has failed again, stands behind those.
        newer_than: They were created at most this number of seconds before *now*.
        error: What is said of their failure holds this text, in any case.
        event: An event has this name; of a page or a screen, the name of that.
        user_id: An event has this ``userId``, ``anonymousId`` or ``previousId``.
        message_id: An event has this ``messageId``.
        text: An event holds this text somewhere, in any case.
        limit: They are the first jobs, at most so many, that meet the other conditions; ``None`` means all.

    Raises:
        ConfigError: *older_than* or *newer_than* is not a number of seconds, or *limit* is not a number of jobs.
    """

    states: tuple[JobState, ...]
    ids: Sequence[str] | None = None
    reason: str | None = None
    older_than: float | None = None
    now: float = field(default_factory=time.time)
    most: int | None = None
    newer_than: float | None = None
    error: str | None = None
    event: str | None = None
    user_id: str | None = None
    message_id: str | None = None
    text: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("older_than", "newer_than"):
            if getattr(self, name) is not None:
                require_number(name, getattr(self, name), 0)
        if self.limit is not None:
            require_number("limit", self.limit, 1, integer=True)

    @property
    def is_everything(self) -> bool:
        """No condition but the state is given, so that the counts of the queue say how many jobs there are."""
        return self == Selection(self.states, now=self.now, most=self.most)

    @property
    def conditions(self) -> Conditions:
        """The conditions besides state, ids and reason that are given, as ``Queue`` takes them."""
        given = {name: getattr(self, name) for name in Conditions.__annotations__}
        return cast("Conditions", {name: value for name, value in given.items() if value is not None})

    @property
    def is_only_failed(self) -> bool:
        """Something is asked that only a failed job has."""
        return self.reason is not None or self.error is not None

    @property
    def terms(self) -> Terms:
        """What an event of a job must have: false where nothing is asked of events."""
        return Terms(self.event, self.user_id, self.message_id, self.text)

    def matches(self, job: Job) -> bool:
        """Say whether *job* meets the conditions that are not about its events, its id or its state."""
        return self._is_due_to(job.reason, job.error) and self._is_of_age(job.created_at)

    def _is_due_to(self, reason: str | None, error: str | None) -> bool:
        return (self.reason is None or reason == self.reason) and (
            self.error is None or self.error.casefold() in (error or "").casefold()
        )

    def _is_of_age(self, created_at: float) -> bool:
        if self.older_than is not None and not 0 < created_at < self.now - self.older_than:
            return False
        return self.newer_than is None or created_at >= self.now - self.newer_than

    def pages(self, source: Lists) -> Iterator[list[Job]]:
        """
        Yield the jobs that match, as the queue lists them, state by state and page by page; a page may be empty.

        The caller may take the jobs of a page out of their list. A job that changes its state meanwhile may come twice.
        What is asked of events, and the limit, is left to ``search``.
        """
        for _, found in self.looks(source):
            yield found

    def looks(
        self, source: Lists, after: Job | str | None = None
    ) -> Iterator[tuple[Sequence[Job], list[Job]]]:
        """Yield what ``pages`` does from behind *after*, each page behind the jobs that were looked at for it."""
        states = [state for state in self.states if state is JobState.FAILED or not self.is_only_failed]
        if self.ids is None:
            for state in dict.fromkeys(states):
                for page in self._read(source, state, after):
                    yield page, list(filter(self.matches, page))
            return
        wanted = set(self.ids)
        for state in states:
            for page in self._read(source, state, after):
                if not wanted:
                    return
                # A job that does not match here may match in another state a moment later: it is looked for again there.
                found = [job for job in page if job.id in wanted and self.matches(job)]
                wanted.difference_update(job.id for job in found)
                yield found, found

    def _read(self, source: Lists, state: JobState, after: Job | str | None) -> Iterator[list[Job]]:
        left = self.most
        # A search goes on for long, so its steps are smaller: others use the queue meanwhile.
        size = PAGE // 2 if self.terms else PAGE
        for page in _read_ahead(walk(source, state, after=after, size=size)):
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
                yield [job_id for job_id in page if self._is_of_age(created_at_from_id(job_id))]
            if not cursor:
                return

    def pages_of_ids(self, backend: Backend) -> Iterator[list[str]]:
        """
        Yield the given ids, page by page, of which the jobs match; a page may be empty.

        No list is read, so a few jobs are found at once among millions; the caller must then look at the states.
        """
        ids = iter(dict.fromkeys(self.ids or ()))
        while page := list(islice(ids, PAGE)):
            if self.reason is not None or self.error is not None:
                found = backend.lookup(page)
                page = [i for i in page if self._has_failed_so(found.get(i))]
            yield [job_id for job_id in page if self._is_of_age(created_at_from_id(job_id))]

    def _has_failed_so(self, failure: Failure | None) -> bool:
        return failure is not None and self._is_due_to(failure.reason, failure.error)


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
