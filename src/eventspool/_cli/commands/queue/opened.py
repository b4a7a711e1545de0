"""What the queue's commands share: the queue itself, and which of its jobs are meant."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eventspool._cli.options import encryption_key, require_existing
from eventspool._cli.output import err_console, format_count, on_terminal
from eventspool._job import JobState
from eventspool._queue import Queue, open_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eventspool._job import Job

__all__ = [
    "PAGE",
    "PURGEABLE",
    "STATES",
    "Selection",
    "age_option",
    "confirm",
    "dry_run_option",
    "opened",
    "pages",
    "progress",
    "require_consent",
    "selection_options",
    "user_option",
    "walk",
    "yes_option",
]

_F = TypeVar("_F", bound="Callable[..., Any]")
STATES = [state.value for state in JobState]
PURGEABLE = ("failed", "delayed", "waiting")
PAGE = 500
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")


@contextlib.contextmanager
def opened(queue_url: str, queue_name: str, prefix: str) -> Iterator[Queue]:
    """Open a queue that exists already."""
    require_existing(queue_url)
    with open_queue(queue_url, queue_name, prefix, encryption_key=encryption_key()) as queue:
        yield queue


@dataclass(frozen=True, slots=True)
class Selection:
    """
    Which jobs are meant: those that meet every condition given.

    Args:
        states: In which states.
        ids: Only these.
        reason: Only those that failed for this reason.
        older_than: Only those created more than so many seconds ago.
        user_id: Only this user's events.
    """

    states: tuple[str, ...]
    ids: tuple[str, ...] = ()
    reason: str | None = None
    older_than: float | None = None
    user_id: str | None = None

    @property
    def is_everything(self) -> bool:
        """No condition but the state is given."""
        return not self.ids and self.reason is None and self.older_than is None and self.user_id is None

    def find(self, queue: Queue) -> dict[str, list[Job]]:
        """Return the jobs by state, as the index has them (so whatever the user): all of them, before anything changes."""
        before = None if self.older_than is None else time.time() - self.older_than
        missing = set(self.ids)
        found: dict[str, list[Job]] = {state: [] for state in self.states}
        for state in self.states:
            for job in walk(queue, state):
                if self.ids:
                    if job.id not in missing:
                        continue
                    missing.discard(job.id)
                if (self.reason is None or job.reason == self.reason) and (
                    before is None or 0 < job.created_at < before
                ):
                    found[state].append(job)
                if self.ids and not missing:
                    return found
        return found

    def describe(self, jobs: int, events: int) -> str:
        """Return what is meant, for a question."""
        which = " and ".join(self.states)
        text = f"{'all ' if self.is_everything else ''}{format_count(jobs, 'job')} ({format_count(events, 'event')})"
        text += f" that {'is' if jobs == 1 and not self.is_everything else 'are'} {which}"
        if self.reason is not None:
            text += f", with the reason {self.reason!r}"
        return text


def walk(queue: Queue, state: str) -> Iterator[Job]:
    """Yield the jobs in *state*, in order."""
    after = None
    while page := queue.jobs(state, PAGE, after):
        yield from page
        after = page[-1].id
        if len(page) < PAGE:
            return


def pages(jobs: Sequence[Job]) -> Iterator[list[str]]:
    """Yield the ids of *jobs*, some at a time."""
    for start in range(0, len(jobs), PAGE):
        yield [job.id for job in jobs[start : start + PAGE]]


@contextlib.contextmanager
def progress(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal; yield what advances it."""
    if not on_terminal():
        yield lambda count: None  # noqa: ARG005
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=err_console(), transient=True, redirect_stdout=False, redirect_stderr=False
    ) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda count: bar.advance(task, count)


def require_consent(what: str, *, yes: bool) -> None:
    """Refuse *what*, which deletes, where nobody said --yes and nobody can be asked."""
    if not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(f"{what} deletes for good; confirm with --yes")


def confirm(question: str) -> None:
    """Ask *question*, and go on after a yes only."""
    if not click.confirm(question, err=True):
        raise click.ClickException("not confirmed; nothing was deleted")


def selection_options(function: _F) -> _F:
    """Add ``--id``, ``--reason`` and ``--all``."""
    function = click.option("--all", "everything", is_flag=True, help="All of them (the default).")(function)
    function = click.option("--reason", metavar="REASON", help="Those that failed for this reason.")(function)
    return click.option("--id", "ids", metavar="JOB", multiple=True, help="This job; may be repeated.")(
        function
    )


def age_option(function: _F) -> _F:
    """Add ``--older-than``."""
    return click.option(
        "--older-than",
        type=_Duration(),
        metavar="AGE",
        help="Those created longer ago: 90 (seconds), 30m, 12h, 7d.",
    )(function)


def user_option(function: _F) -> _F:
    """Add ``--user-id``."""
    return click.option(
        "--user-id",
        metavar="ID",
        help="Only the events whose userId, anonymousId or previousId this is, such as for a request for erasure.",
    )(function)


def yes_option(function: _F) -> _F:
    """Add ``--yes``."""
    return click.option(
        "--yes", "-y", is_flag=True, help="Do not ask before deleting. Needed where nobody can answer."
    )(function)


def dry_run_option(function: _F) -> _F:
    """Add ``--dry-run``."""
    return click.option("--dry-run", is_flag=True, help="Only say what would be done.")(function)


class _Duration(click.ParamType):  # type: ignore[type-arg] # generic only in the newest click
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = _DURATION.fullmatch(str(value).strip().lower())
        if found is None or found[2] not in _UNITS:
            self.fail(f"{value!r} is no age; write 90 (seconds), 30m, 12h or 7d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]
