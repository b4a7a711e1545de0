"""``queue export``: events as JSON lines."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from eventspool._cli.answer import print_json
from eventspool._cli.commands.queue.opened import (
    STATES,
    Planned,
    Unused,
    confirm,
    describe,
    dry_run_option,
    look_through,
    most,
    opened,
    progress,
    require_all,
    require_consent,
    say_unreadable,
    selection_options,
    yes_option,
)
from eventspool._cli.kinds import Kind
from eventspool._cli.options import json_option, queue_options
from eventspool._cli.output import format_count, say
from eventspool._job import JobState
from eventspool._operate.new_file import new_file
from eventspool._operate.selection import PAGE, PURGEABLE
from eventspool._operate.trail import Action
from eventspool._operate.trail import describe as describe_selection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from eventspool._cli.options import QueueAddress
    from eventspool._operate.queue import Queue
    from eventspool._operate.selection import Selection
    from eventspool._operate.terms import Terms

__all__ = ["export"]


@click.command()
@queue_options(required=True)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@selection_options([*STATES, "all"], "Which jobs. With --purge, `all` leaves the leased ones out.")
@click.option("--purge", is_flag=True, help="Delete the jobs that were written, once FILE is on the disk.")
@yes_option
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@dry_run_option
@json_option
def export(
    address: QueueAddress,
    file: str,
    chosen: Selection,
    *,
    purge: bool,
    yes: bool,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Write the events of jobs to FILE (- is the standard output), one a line.

    Where events are asked for (--event, --user-id, --message-id, --text), only these are written. Nothing leaves the queue,
    unless --purge says so: then whole jobs are written, and the jobs that are in FILE are deleted, and no others. `eventspool
    send` takes the file back in. The exit status is 1 where fewer events could be written than there are.

    \b
    Examples:
      eventspool queue export --purge failed.jsonl
      eventspool queue export --state all --user-id user-17 user-17.jsonl
    """
    if as_json and file == "-" and not dry_run:
        raise click.UsageError("--json and the events cannot both go to the standard output")
    target = None if file == "-" else _check_target(Path(file), force=force)
    if purge:
        _check_purge(file, chosen)
        require_consent("export --purge", yes=yes or dry_run)
        chosen = replace(chosen, states=tuple(state for state in PURGEABLE if state in chosen.states))
    with opened(address, Unused.FAIL) as queue:
        # Only jobs that are named, or to be deleted, are all listed before the first one is written.
        planned = Planned.of(queue, chosen) if purge or chosen.ids is not None else None
        if planned is not None:
            require_all(None if chosen.terms else chosen.ids, planned.jobs, "; nothing was written")
            if purge and planned.jobs and not (yes or dry_run):
                confirm(f"Write {describe(chosen, planned)} to {file}, and delete them for good?")
        with _written_to(target, force=force, dry_run=dry_run) as out:
            done = _export(queue, chosen, planned, None if purge else chosen.terms, out)
            if done.listed and not done.written:
                raise click.ClickException(
                    f"none of {format_count(done.listed, 'job')} could be read: moved on meanwhile, or unreadable and "
                    "kept (does it take EVENTSPOOL_ENCRYPTION_KEY?); nothing was written"
                )
        if not dry_run and done.events:
            queue.note(Action("export", events=done.events, selection=describe_selection(chosen)))
        purged = _purge(queue, planned, done, dry_run=dry_run) if purge and planned is not None else None
    if as_json:
        more = {} if purged is None else {"purged": purged}
        print_json(
            Kind.EXPORT,
            {"exported": done.events, "file": file, **more, **({"dry_run": True} if dry_run else {})},
        )
    else:
        where = "" if file == "-" else f" to {file}"
        gone = "" if purged is None else f", purged {format_count(purged, 'job')}"
        say(f"{'would have ' if dry_run else ''}exported {format_count(done.events, 'event')}{where}{gone}")
    if purged is not None and purged < done.written:
        say(
            f"{format_count(done.written - purged, 'job')} moved on meanwhile: both in the file and not purged"
        )
    say_unreadable(done.unreadable)
    if done.events < done.listed_events:
        say(
            f"{format_count(done.listed_events - done.events, 'event')} fewer than counted: moved on meanwhile, "
            "or unreadable and kept"
        )
    if done.events < done.listed_events or done.unreadable:
        sys.exit(1)


def _check_target(file: Path, *, force: bool) -> Path:
    target = file.absolute()
    if not target.parent.is_dir():
        raise click.UsageError(f"there is no folder {str(file.parent)!r}")
    if target.exists() and not force:
        raise _is_there(target)
    return target


def _check_purge(file: str, chosen: Selection) -> None:
    if file == "-":
        raise click.UsageError(
            "--purge needs a file: it is not known whether the program at the other end of a pipe keeps what it reads"
        )
    if chosen.states == (JobState.LEASED,):
        raise click.UsageError("leased jobs are being sent; they cannot be purged")
    if chosen.user_id is not None:
        raise click.UsageError(
            "--purge deletes whole jobs, and others' events with them: export, then `queue erase --user-id`"
        )


def _is_there(target: Path) -> click.ClickException:
    return click.ClickException(
        f"{target.name} is there already, perhaps with what an earlier export purged: name another file, or say --force"
    )


@dataclass(slots=True)
class _Export:
    """
    What became of an export: jobs and events as listed and as written, and the ids of the jobs that are not in the file.

    Where events were asked for, *listed_events* are those, and *unreadable* counts other jobs, which perhaps hold some.
    """

    listed: int = 0
    listed_events: int = 0
    written: int = 0
    events: int = 0
    left: set[str] = field(default_factory=set)
    unreadable: int = 0


class _Seen:
    """Ids that were met before. There may be millions, so SQLite keeps them, in a file that goes with this process."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")
        self._db.execute("create table seen (id blob primary key) without rowid")

    def close(self) -> None:
        """Forget them."""
        self._db.close()

    def add(self, ids: Sequence[str]) -> list[str]:
        """Return those of *ids* that were not met before."""
        entered = "insert or ignore into seen values (?)"
        return [i for i in ids if self._db.execute(entered, (i.encode(errors="surrogatepass"),)).rowcount]


def _export(
    queue: Queue, chosen: Selection, planned: Planned | None, terms: Terms | None, out: IO[bytes]
) -> _Export:
    done = _Export(unreadable=planned.unreadable if planned else 0)
    total = planned.jobs if planned else most(queue, chosen)
    # A job that has changed its state meanwhile is listed twice.
    with progress("exporting", total) as advance, contextlib.closing(_Seen()) as seen:
        for looked_at, page in _pages_of(planned, terms) if planned else _pages(queue, chosen, done):
            fresh = seen.add(list(page))
            counts = queue.write_events(out, fresh, terms)
            done.listed += len(fresh)
            done.listed_events += sum(page[job_id] for job_id in fresh)
            done.written += len(counts)
            done.events += sum(counts.values())
            done.left.update(job_id for job_id in fresh if job_id not in counts)
            advance(looked_at)
    return done


def _pages(queue: Queue, chosen: Selection, done: _Export) -> Iterator[tuple[int, dict[str, int]]]:
    """
    Yield how many jobs were looked at, and the ids of those that are meant, each with the number of its events that are.

    Jobs that cannot be read are added to *done*.
    """
    for look in look_through(queue, chosen):
        done.unreadable += len(look.unreadable)
        yield (
            look.looked_at,
            {job.id: len(look.places[job.id]) if look.places else job.events for job in look.jobs},
        )


def _pages_of(planned: Planned, terms: Terms | None) -> Iterator[tuple[int, dict[str, int]]]:
    """Yield the ids of the jobs page by page; all events that are to be written are counted with the first job."""
    events = planned.matching if terms else planned.events
    for ids in planned.ids.values():
        for start in range(0, len(ids), PAGE):
            page = dict.fromkeys(ids[start : start + PAGE], 0)
            page[ids[start]] = events
            events = 0
            yield len(page), page


def _purge(queue: Queue, planned: Planned, done: _Export, *, dry_run: bool) -> int:
    """Delete the jobs that were written. What came or changed its state since the file was begun is not among them."""
    if dry_run:
        return done.written
    with progress("deleting", done.written) as advance:
        return sum(
            queue.purge(state, [job_id for job_id in ids if job_id not in done.left], on_job=advance)
            for state, ids in planned.ids.items()
        )


def _written_to(target: Path | None, *, force: bool, dry_run: bool) -> AbstractContextManager[IO[bytes]]:
    if dry_run:
        return Path(os.devnull).open("wb")  # counting leaves no copy anywhere
    return _standard_output() if target is None else _named_file(target, force=force)


@contextlib.contextmanager
def _standard_output() -> Iterator[IO[bytes]]:
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _named_file(target: Path, *, force: bool) -> Iterator[IO[bytes]]:
    try:
        with new_file(target, replace=force) as file:
            yield file
    except FileExistsError:
        raise _is_there(target) from None
