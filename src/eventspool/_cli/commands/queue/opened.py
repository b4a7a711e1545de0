"""What the commands about a queue share: the open queue, the options that select jobs, questions and progress bars."""

from __future__ import annotations

import contextlib
import re
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eventspool._cli.options import encryption_key, gathered, require_existing
from eventspool._cli.output import err_console, format_count, on_terminal
from eventspool._job import JobState
from eventspool._operate.queue import Queue, open_queue
from eventspool._operate.selection import PURGEABLE as _PURGEABLE
from eventspool._operate.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from eventspool._cli.options import QueueAddress

__all__ = [
    "PURGEABLE",
    "STATES",
    "Planned",
    "confirm",
    "count",
    "describe",
    "dry_run_option",
    "interval_option",
    "most",
    "opened",
    "progress",
    "require_all",
    "require_consent",
    "selection_options",
    "state_option",
    "user_option",
    "yes_option",
]

_F = TypeVar("_F", bound="Callable[..., Any]")
STATES = [state.value for state in JobState]
PURGEABLE = [state.value for state in _PURGEABLE]
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")


@contextlib.contextmanager
def opened(address: QueueAddress, *, used: bool = False) -> Iterator[Queue]:
    """
    Open a queue that exists already.

    Args:
        address: Which queue.
        used: Something is to be done to its jobs. Fail where none was ever stored under this name: it may be misspelt, and the
            operator must not believe that it was done.
    """
    require_existing(address.url)
    with open_queue(**asdict(address), encryption_key=encryption_key()) as queue:
        if used:
            _require_used(queue, address.queue_name)
        yield queue


def _require_used(queue: Queue, name: str) -> None:
    condition = queue.condition()
    if condition.is_used:
        return
    there = (
        f"the queues that are: {', '.join(condition.others)}"
        if condition.others
        else "nor in any other queue"
    )
    raise click.ClickException(
        f"nothing was done: no event was ever stored in a queue {name!r} here; {there}. "
        "See --queue-name, --prefix and the database in the URL"
    )


@dataclass(frozen=True, slots=True)
class Planned:
    """
    The jobs that an operator is asked about. These are then changed, and not those that come while the operator thinks.

    Args:
        ids: The jobs' ids, by the state in which they were found. Nothing else is kept of a job, since there may be millions.
        events: How many events they hold.
    """

    ids: Mapping[JobState, list[str]]
    events: int

    @classmethod
    def of(cls, queue: Queue, chosen: Selection) -> Planned:
        """Read the lists of the queue."""
        ids: dict[JobState, list[str]] = {state: [] for state in chosen.states}
        events = 0
        with progress("listing", most(queue, chosen)) as advance:
            for page in chosen.pages(queue):
                for job in page:
                    ids[job.state].append(job.id)
                    events += job.events
                advance(len(page))
        return cls(ids, events)

    @property
    def jobs(self) -> int:
        """How many jobs there are."""
        return sum(map(len, self.ids.values()))


def count(queue: Queue, chosen: Selection) -> int:
    """Return how many jobs are meant."""
    with progress("counting", most(queue, chosen)) as advance:
        total = 0
        for page in chosen.pages(queue):
            total += len(page)
            advance(len(page))
    return total


def most(queue: Queue, chosen: Selection) -> int | None:
    """Return how many jobs are meant, as far as that is known without reading a list."""
    if chosen.is_everything:
        stats = queue.stats()
        return sum(int(getattr(stats, state).jobs) for state in chosen.states)
    return None if chosen.ids is None else len(chosen.ids)


def describe(chosen: Selection, planned: Planned) -> str:
    """Return which jobs are meant, for a question."""
    jobs, events = format_count(planned.jobs, "job"), format_count(planned.events, "event")
    text = f"{'all ' if chosen.is_everything else ''}{jobs} ({events})"
    text += f" that {'is' if planned.jobs == 1 and not chosen.is_everything else 'are'} {' and '.join(chosen.states)}"
    if chosen.reason is not None:
        text += f", with the reason {chosen.reason!r}"
    return text


def require_all(ids: Sequence[str] | None, found: int, more: str = "") -> None:
    """Fail, and say *more*, where fewer jobs were *found* than were named."""
    missing = len(set(ids or ())) - found
    if missing > 0:
        raise click.ClickException(f"{format_count(missing, 'job')} of those named were not there{more}")


@contextlib.contextmanager
def progress(doing: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, one without an end where *total* is not known; yield the function that advances it."""
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
    """Refuse *what*, which deletes, without --yes where there is no terminal to ask the operator on."""
    if not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(f"{what} deletes for good; confirm with --yes")


def confirm(question: str) -> None:
    """Ask the operator *question*, and go on only after a yes."""
    if not click.confirm(question, err=True):
        raise click.ClickException("not confirmed; nothing was deleted")


def state_option(states: Sequence[str] = STATES, about: str = "Which jobs.") -> Callable[[_F], _F]:
    """Add ``--state``."""
    return click.option("--state", type=click.Choice(states), default="failed", show_default=True, help=about)


def interval_option(about: str) -> Callable[[_F], _F]:
    """Add ``--interval``."""
    return click.option(
        "--interval",
        type=click.FloatRange(0.1),
        default=1.0,
        show_default=True,
        metavar="SECONDS",
        help=about,
    )


def selection_options(states: Sequence[str], about: str) -> Callable[[_F], _F]:
    """
    Add ``--id``, ``--reason``, ``--all``, ``--state`` and ``--older-than``; pass them on as *chosen*, a ``Selection``.

    Args:
        states: The states that may be asked for; where "all" is among them, it stands for the others.
        about: What ``--help`` says of ``--state``.
    """

    def gather(
        ids: tuple[str, ...],
        reason: str | None,
        everything: bool,  # noqa: FBT001 - click gives it by name
        state: str,
        older_than: float | None,
    ) -> dict[str, Any]:
        if everything and (ids or reason):
            raise click.UsageError("--all goes neither with --id nor with --reason")
        names = [name for name in states if name != "all"] if state == "all" else [state]
        return {"chosen": Selection(tuple(map(JobState, names)), ids or None, reason, older_than)}

    return gathered(
        gather,
        click.option("--id", "ids", metavar="JOB", multiple=True, help="This job; may be repeated."),
        click.option("--reason", metavar="REASON", help="Only jobs that failed for this reason."),
        click.option("--all", "everything", is_flag=True, help="All of them (the default)."),
        state_option(states, about),
        click.option(
            "--older-than",
            type=_Duration(),
            metavar="AGE",
            help="Only jobs that were created longer ago than this: 90 (seconds), 30m, 12h, 7d.",
        ),
    )


user_option = click.option(
    "--user-id",
    metavar="ID",
    help="Only events whose userId, anonymousId or previousId this is, for example to answer a request for erasure.",
)
yes_option = click.option(
    "--yes",
    "-y",
    is_flag=True,
    help="Do not ask before deleting. Needed where there is no terminal to ask on.",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


class _Duration(click.ParamType):  # type: ignore[type-arg] # generic only in the newest click
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = _DURATION.fullmatch(str(value).strip().lower())
        if found is None or found[2] not in _UNITS:
            self.fail(f"{value!r} is no age; write 90 (seconds), 30m, 12h or 7d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]
