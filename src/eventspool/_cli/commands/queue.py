"""``eventspool queue``: look into a queue, and decide about what failed."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eventspool._cli.options import encryption_key, json_option, queue_options, require_existing
from eventspool._cli.output import (
    console,
    format_age,
    format_bytes,
    format_count,
    format_moment,
    key_value_table,
    print_json,
    say,
    table,
)
from eventspool._exceptions import QueueError
from eventspool._job import JobState
from eventspool._queue import Queue, open_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eventspool._job import Job

__all__ = ["command"]

_F = TypeVar("_F", bound="Callable[..., Any]")
_STATES = [state.value for state in JobState]
_PAGE = 500


@click.group(no_args_is_help=False)
def command() -> None:
    """
    Look into a queue; retry, purge or export what failed.

    \b
    Examples:
      eventspool queue status --queue redis://localhost:6379/0
      EVENTSPOOL_QUEUE=sqlite:///events.db eventspool queue list
    """


@contextlib.contextmanager
def _opened(queue_url: str, queue_name: str, prefix: str) -> Iterator[Queue]:
    require_existing(queue_url)
    with open_queue(queue_url, queue_name, prefix, encryption_key=encryption_key()) as queue:
        yield queue


@command.command()
@queue_options(required=True)
@json_option
def status(queue_url: str, queue_name: str, prefix: str, *, as_json: bool) -> None:
    """
    Count jobs, events and bytes by state.

    \b
    Example:
      eventspool queue status --queue redis://localhost:6379/0
    """
    with _opened(queue_url, queue_name, prefix) as queue:
        stats = queue.stats()
    if as_json:
        print_json({"queue_name": queue_name, "prefix": prefix, **stats.as_dict()})
        return
    shown = table("state", "jobs", "events", "size", right=("jobs", "events", "size"))
    for state in _STATES:
        depth = getattr(stats, state)
        shown.add_row(
            state,
            f"{depth.jobs:,}",
            f"{depth.events:,}",
            format_bytes(depth.bytes),
            style="red" if state == "failed" and depth.jobs else None,
        )
    facts = key_value_table()
    facts.add_row("queue", queue_name)
    facts.add_row("oldest job", format_age(stats.oldest_age) if stats.oldest_age else "-")
    facts.add_row("processors", f"{stats.processors:,}")
    out = console()
    out.print(shown)
    out.print()
    out.print(facts)


@command.command("list")
@queue_options(required=True)
@click.option("--state", type=click.Choice(_STATES), default="failed", show_default=True, help="Which jobs.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most.")
@click.option("--after", metavar="JOB", help="Go on behind this job: the last one of the page before.")
@json_option
def list_jobs(
    queue_url: str, queue_name: str, prefix: str, state: str, limit: int, after: str | None, *, as_json: bool
) -> None:
    """
    List jobs, oldest first.

    \b
    Example:
      eventspool queue list --state delayed --limit 10
    """
    with _opened(queue_url, queue_name, prefix) as queue:
        jobs = queue.jobs(state, limit, after)
    if as_json:
        print_json([asdict(job) for job in jobs])
        return
    if not jobs:
        say(f"No {state} jobs{' behind that one' if after else ''}.")
        return
    failed = state == "failed"
    numbers = ("age", "events", "size") if failed else ("age", "events", "size", "attempts")
    shown = table("job", *numbers, "why" if failed else "due", right=numbers)
    now = time.time()
    for job in jobs:
        age = format_age(max(now - job.created_at, 0.0))
        last = (f"{job.reason}: {job.error}",) if failed else (f"{job.attempts:,}", _due(job, now))
        shown.add_row(job.id, age, f"{job.events:,}", format_bytes(job.bytes), *last)
    console().print(shown)
    if len(jobs) == limit:
        say(f"\nThere may be more: --after {jobs[-1].id}")


def _due(job: Job, now: float) -> str:
    return (
        "now"
        if job.next_attempt_at is None or job.next_attempt_at <= now
        else f"in {format_age(job.next_attempt_at - now)}"
    )


@command.command()
@queue_options(required=True)
@click.argument("job_id", metavar="JOB")
@json_option
def show(queue_url: str, queue_name: str, prefix: str, job_id: str, *, as_json: bool) -> None:
    """
    Show one job with its events.

    \b
    Example:
      eventspool queue show 0190c5d0a1f23b4c5d6e7f809a1b
    """
    events: list[dict[str, Any]] | None = None
    problem = ""
    with _opened(queue_url, queue_name, prefix) as queue:
        job = _find(queue, job_id)
        try:
            events = queue.events(job_id)
        except QueueError as error:
            if job is None:
                raise QueueError(
                    f"there is no job {job_id!r} in this queue; `eventspool queue list` shows them"
                ) from None
            problem = str(error)
    if as_json:
        print_json(
            {**(asdict(job) if job else {"id": job_id}), "payload": events, "payload_error": problem or None}
        )
    else:
        _show_job(job_id, job)
        for event in events or ():
            print_json(event)
    if problem:
        raise click.ClickException(problem)


def _show_job(job_id: str, job: Job | None) -> None:
    facts = key_value_table()
    facts.add_row("job", job_id)
    if job is not None:
        facts.add_row("state", job.state.value)
        facts.add_row("events", f"{job.events:,} ({format_bytes(job.bytes)} stored)")
        facts.add_row("created", format_moment(job.created_at))
        facts.add_row("attempts", f"{job.attempts:,}")
        if job.next_attempt_at:
            facts.add_row("next attempt", format_moment(job.next_attempt_at))
        if job.reason:
            facts.add_row("reason", job.reason)
            facts.add_row("error", job.error or "-")
    out = console()
    out.print(facts)
    out.print()


def _find(queue: Queue, job_id: str) -> Job | None:
    for state in ("failed", "delayed", "leased", "waiting"):
        after = None
        while page := queue.jobs(state, _PAGE, after):
            for job in page:
                if job.id == job_id:
                    return job
            after = page[-1].id
    return None


def _selection(function: _F) -> _F:
    function = click.option("--all", "everything", is_flag=True, help="All of them (the default).")(function)
    function = click.option("--reason", metavar="REASON", help="Those that failed for this reason.")(function)
    return click.option("--id", "ids", metavar="JOB", multiple=True, help="This job; may be repeated.")(
        function
    )


def _check_selection(ids: tuple[str, ...], reason: str | None, *, everything: bool) -> None:
    if everything and (ids or reason):
        raise click.UsageError("--all goes neither with --id nor with --reason")


@command.command()
@queue_options(required=True)
@_selection
@json_option
def retry(
    queue_url: str,
    queue_name: str,
    prefix: str,
    ids: tuple[str, ...],
    reason: str | None,
    *,
    everything: bool,
    as_json: bool,
) -> None:
    """
    Put failed jobs back into the queue, with no attempts counted.

    \b
    Examples:
      eventspool queue retry --all
      eventspool queue retry --reason max_attempts
    """
    _check_selection(ids, reason, everything=everything)
    with _opened(queue_url, queue_name, prefix) as queue:
        count = queue.retry_failed(list(ids) or None, reason)
    _report("retried", count, ids, as_json=as_json)


@command.command()
@queue_options(required=True)
@_selection
@click.option(
    "--state",
    type=click.Choice([state for state in _STATES if state != "leased"]),
    default="failed",
    show_default=True,
    help="Which jobs. Leased ones are never deleted.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask. Needed where nobody can answer.")
@json_option
def purge(
    queue_url: str,
    queue_name: str,
    prefix: str,
    ids: tuple[str, ...],
    reason: str | None,
    state: str,
    *,
    everything: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """
    Delete jobs for good. Their events will not be delivered.

    \b
    Examples:
      eventspool queue purge --reason rejected
      eventspool queue purge --state waiting --yes
    """
    _check_selection(ids, reason, everything=everything)
    with _opened(queue_url, queue_name, prefix) as queue:
        if not yes:
            _confirm(queue, state, ids, reason)
        count = queue.purge(state, list(ids) or None, reason)
    _report("purged", count, ids, as_json=as_json)


def _confirm(queue: Queue, state: str, ids: tuple[str, ...], reason: str | None) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("purge deletes for good; confirm with --yes")
    depth = getattr(queue.stats(), state)
    whole = f"all {format_count(depth.jobs, 'job')} ({format_count(depth.events, 'event')}) that are {state}"
    what = format_count(len(ids), f"{state} job") if ids else f"the {state} jobs" if reason else whole
    if reason:
        what += f" with the reason {reason!r}"
    if not click.confirm(f"Delete {what} for good?", err=True):
        raise click.ClickException("not confirmed; nothing was deleted")


def _report(verb: str, count: int, ids: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        print_json({verb: count})
    else:
        console().print(f"{verb} {format_count(count, 'job')}")
    if count < len(set(ids)):
        raise click.ClickException(
            f"{format_count(len(set(ids)) - count, 'job')} of those named were not there"
        )


@command.command()
@queue_options(required=True)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--state", type=click.Choice(_STATES), default="failed", show_default=True, help="Which jobs.")
@json_option
def export(queue_url: str, queue_name: str, prefix: str, file: str, state: str, *, as_json: bool) -> None:
    """
    Write the events of jobs to FILE (- is the standard output), one a line.

    Nothing leaves the queue. `eventspool send` takes the file back in. The exit status is 1 where fewer events could
    be written than there are.

    \b
    Example:
      eventspool queue export failed.jsonl && eventspool queue purge --yes
    """
    if as_json and file == "-":
        raise click.UsageError("--json and the events cannot both go to the standard output")
    with _opened(queue_url, queue_name, prefix) as queue:
        expected = getattr(queue.stats(), state).events
        if file == "-":
            count = _export_to_stdout(queue, state)
        else:
            if not Path(file).absolute().parent.is_dir():
                raise click.UsageError(f"there is no folder {str(Path(file).parent)!r}")
            count = queue.export(file, state)
    if as_json:
        print_json({"exported": count, "file": file})
    else:
        say(f"exported {format_count(count, 'event')}{'' if file == '-' else f' to {file}'}")
    if count < expected:
        say(
            f"{format_count(expected - count, 'event')} less than counted: moved on meanwhile, or unreadable and kept"
        )
        sys.exit(1)  # so that `export && purge` purges nothing that was not exported


def _export_to_stdout(queue: Queue, state: str) -> int:
    with tempfile.TemporaryDirectory(prefix="eventspool-") as folder:
        path = Path(folder) / "events.jsonl"
        count = queue.export(path, state)
        with path.open("rb") as file:
            out = sys.stdout.buffer
            shutil.copyfileobj(file, out)
            out.flush()
    return count
