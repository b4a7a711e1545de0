"""What the commands about a queue share: the open queue, the options that select jobs, questions and progress bars."""

from __future__ import annotations

import contextlib
import re
import sys
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eventspool._cli.options import encryption_key, gathered, require_existing
from eventspool._cli.output import err_console, format_count, on_terminal, say
from eventspool._job import JobState
from eventspool._operate.queue import Queue, open_queue
from eventspool._operate.search import total_of
from eventspool._operate.selection import PURGEABLE as _PURGEABLE
from eventspool._operate.selection import Selection
from eventspool._reasons import FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eventspool._cli.options import QueueAddress
    from eventspool._operate.look import Look

__all__ = [
    "PURGEABLE",
    "STATES",
    "Planned",
    "Unused",
    "confirm",
    "describe",
    "dry_run_option",
    "interval_option",
    "look_through",
    "most",
    "opened",
    "progress",
    "require_all",
    "require_consent",
    "say_unreadable",
    "selection_options",
    "state_option",
    "yes_option",
]

_F = TypeVar("_F", bound="Callable[..., Any]")
STATES = [state.value for state in JobState]
PURGEABLE = [state.value for state in _PURGEABLE]
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")


class Unused(Enum):
    """What becomes of a command where no job was ever stored under the queue's name, which may be misspelt."""

    TELL = "tell"
    """It goes on, and says so on the standard error: it only looks."""
    FAIL = "fail"
    """It fails: something was to be done to jobs, and the operator must not believe that it was done."""
    FAIL_BESIDE_OTHERS = "fail beside others"
    """
    It fails where other queues are there, and no processor works on this one: a queue that is paused before its first event
    is either the only one, or somebody's worker knows its name.
    """
    IGNORE = "ignore"
    """The command says itself what there is."""


@contextlib.contextmanager
def opened(address: QueueAddress, unused: Unused = Unused.TELL) -> Iterator[Queue]:
    """
    Open a queue that exists already.

    Args:
        address: Which queue.
        unused: What is done where no job was ever stored there.
    """
    require_existing(address.url)
    with open_queue(**asdict(address), encryption_key=encryption_key()) as queue:
        if unused is not Unused.IGNORE:
            _look_at_name(queue, address.queue_name, unused)
        yield queue


def _look_at_name(queue: Queue, name: str, unused: Unused) -> None:
    condition = queue.condition()
    if condition.is_used:
        return
    there = (
        f"the queues that are: {', '.join(condition.others)}"
        if condition.others
        else "and no other queue was found"
    )
    said = (
        f"no event was ever stored in a queue {name!r} here; {there}. "
        "See --queue-name, --prefix and the database in the URL"
    )
    fails = unused is Unused.FAIL or (
        unused is Unused.FAIL_BESIDE_OTHERS and condition.others and not queue.stats().processors
    )
    if fails:
        raise click.ClickException(f"nothing was done: {said}")
    say(f"warning: {said}")


@dataclass(slots=True)
class Planned:
    """
    The jobs that an operator is asked about. These are then changed, and not those that come while the operator thinks.

    Args:
        ids: The jobs' ids, by the state in which they were found. Nothing else is kept of a job, since there may be millions.
        events: How many events they hold.
        matching: How many of these meet what is asked of events; as many as *events* where nothing is asked.
        unreadable: How many other jobs there are of whose events it is not known.
    """

    ids: dict[JobState, list[str]]
    events: int = 0
    matching: int = 0
    unreadable: int = 0

    @classmethod
    def of(cls, queue: Queue, chosen: Selection, doing: str = "listing") -> Planned:
        """Look through the queue."""
        planned = cls({state: [] for state in chosen.states})
        with progress(doing, most(queue, chosen)) as advance:
            for look in look_through(queue, chosen):
                for job in look.jobs:
                    planned.ids[job.state].append(job.id)
                    planned.events += job.events
                    planned.matching += len(look.places[job.id]) if look.places else job.events
                planned.unreadable += len(look.unreadable)
                advance(look.looked_at)
        return planned

    @property
    def jobs(self) -> int:
        """How many jobs there are."""
        return sum(map(len, self.ids.values()))


def look_through(queue: Queue, chosen: Selection, after: str | None = None) -> Iterator[Look]:
    """Look for the jobs that are meant, step by step."""
    return queue.search(chosen.states, chosen.ids, chosen.reason, after=after, **chosen.conditions)


def most(queue: Queue, chosen: Selection) -> int:
    """Return how many jobs are to be looked at."""
    return total_of(chosen, queue.stats())


def describe(chosen: Selection, planned: Planned) -> str:
    """Return which jobs are meant, for a question."""
    which = " and ".join(chosen.states)
    jobs, events = format_count(planned.jobs, f"{which} job"), format_count(planned.events, "event")
    if planned.matching != planned.events:
        events += f", of which {planned.matching:,} {'matches' if planned.matching == 1 else 'match'}"
    text = f"{'all ' if chosen.is_everything and planned.jobs > 1 else ''}{jobs} ({events})"
    if chosen.reason is not None:
        text += f", with the reason {chosen.reason!r}"
    return text


def say_unreadable(jobs: int) -> None:
    """Say how many jobs were left out because their events cannot be read, where there are any."""
    if jobs:
        are = "is" if jobs == 1 else "are"
        say(
            f"{format_count(jobs, 'job')} {are} not readable, so it is not known whether such events are in there; set "
            "EVENTSPOOL_ENCRYPTION_KEY where a key is missing"
        )


def require_all(ids: Sequence[str] | None, found: int, more: str = "") -> None:
    """Fail, and say *more*, where fewer jobs were *found* than were named."""
    missing = len(set(ids or ())) - found
    if missing > 0:
        were = "was" if missing == 1 else "were"
        raise click.ClickException(f"{format_count(missing, 'job')} of those named {were} not there{more}")


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


def state_option(
    states: Sequence[str] = STATES, about: str = "Which jobs.", default: str = "failed"
) -> Callable[[_F], _F]:
    """Add ``--state``."""
    return click.option("--state", type=click.Choice(states), default=default, show_default=True, help=about)


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


def selection_options(
    states: Sequence[str], about: str, *, state: str = "failed", limit: int | None = None
) -> Callable[[_F], _F]:
    """
    Add the options that select jobs, the same ones for every command; pass them on as *chosen*, a ``Selection``.

    Args:
        states: The states that may be asked for; where "all" is among them, it stands for the others.
        about: What ``--help`` says of ``--state``.
        state: The state where none is given.
        limit: How many jobs at most where that is not given; ``None`` means all.
    """

    def gather(
        ids: tuple[str, ...],
        everything: bool,  # noqa: FBT001 - click gives it by name
        state: str,
        **conditions: Any,
    ) -> dict[str, Any]:
        given = [name for name, value in conditions.items() if value is not None and name != "limit"]
        if everything and limit is not None:  # a list, which shows the first ones unasked
            conditions["limit"] = None
        elif everything and (ids or {"reason", "error", *_OF_EVENTS}.intersection(given)):
            raise click.UsageError("--all goes neither with --id nor with what only some jobs have")
        names = [name for name in states if name != "all"] if state == "all" else [state]
        return {"chosen": Selection(tuple(map(JobState, names)), ids or None, **conditions)}

    age = _Duration()
    return gathered(
        gather,
        click.option("--id", "ids", metavar="JOB", multiple=True, help="This job; may be repeated."),
        state_option(states, about, state),
        click.option(
            "--reason",
            metavar="REASON",
            shell_complete=_complete_reason,
            help="Only jobs that failed for this reason.",
        ),
        click.option("--error", metavar="TEXT", help="Only failed jobs whose error holds this text."),
        click.option(
            "--event", metavar="NAME", help="Only jobs with an event of this name (a page, a screen)."
        ),
        click.option(
            "--user-id",
            metavar="ID",
            help="Only jobs with an event whose userId, anonymousId or previousId this is.",
        ),
        click.option("--message-id", metavar="ID", help="Only jobs with the event that has this messageId."),
        click.option(
            "--text", metavar="TEXT", help="Only jobs with an event that holds this text somewhere."
        ),
        click.option(
            "--older-than",
            type=age,
            metavar="AGE",
            help="Only jobs that were created longer ago than this: 90 (seconds), 30m, 12h, 7d.",
        ),
        click.option(
            "--newer-than",
            type=age,
            metavar="AGE",
            help="Only jobs that were created since: 90, 30m, 12h, 7d.",
        ),
        click.option(
            "--limit",
            type=click.IntRange(1),
            metavar="JOBS",
            default=limit,
            show_default=limit is not None,
            help="Only the first jobs that are found, at most so many"
            + (", for example to try a few." if limit is None else "."),
        ),
        click.option(
            "--all",
            "everything",
            is_flag=True,
            help="All of them (the default)."
            if limit is None
            else "All that are found, whatever --limit says.",
        ),
    )


_OF_EVENTS = ("event", "user_id", "message_id", "text")


def _complete_reason(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    return [reason for reason in FAILED if reason.startswith(incomplete)]


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
