"""``queue export``: events as JSON lines."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from eventspool._cli.commands.queue.opened import (
    PURGEABLE,
    STATES,
    Selection,
    age_option,
    confirm,
    dry_run_option,
    opened,
    pages,
    progress,
    require_consent,
    selection_options,
    user_option,
    yes_option,
)
from eventspool._cli.options import json_option, queue_options
from eventspool._cli.output import format_count, print_json, say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from eventspool._job import Job
    from eventspool._queue import Queue

__all__ = ["export"]


@click.command()
@queue_options(required=True)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@selection_options
@click.option(
    "--state",
    type=click.Choice([*STATES, "all"]),
    default="failed",
    show_default=True,
    help="Which jobs. With --purge, all but the leased ones are `all`.",
)
@age_option
@user_option
@click.option("--purge", is_flag=True, help="Delete what was written, once it is on the disk.")
@yes_option
@click.option("--force", is_flag=True, help="Replace FILE where there is one.")
@dry_run_option
@json_option
def export(
    queue_url: str,
    queue_name: str,
    prefix: str,
    file: str,
    ids: tuple[str, ...],
    reason: str | None,
    state: str,
    older_than: float | None,
    user_id: str | None,
    *,
    purge: bool,
    yes: bool,
    force: bool,
    everything: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Write the events of jobs to FILE (- is the standard output), one a line.

    Nothing leaves the queue, unless --purge says so: it deletes the jobs that are in FILE, and no other. `eventspool send`
    takes the file back in. The exit status is 1 where fewer events could be written than there are.

    \b
    Examples:
      eventspool queue export --purge failed.jsonl
      eventspool queue export --state all --user-id user-17 user-17.jsonl
    """
    if as_json and file == "-" and not dry_run:
        raise click.UsageError("--json and the events cannot both go to the standard output")
    if everything and (ids or reason):
        raise click.UsageError("--all goes neither with --id nor with --reason")
    target = None if file == "-" else Path(file).absolute()
    if target is not None and not target.parent.is_dir():
        raise click.UsageError(f"there is no folder {str(Path(file).parent)!r}")
    if target is not None and target.exists() and not force:
        raise _is_there(target)
    if purge:
        _check_purge(file, state, user_id)
        require_consent("export --purge", yes=yes or dry_run)
    every = PURGEABLE if purge else tuple(STATES)
    chosen = Selection(every if state == "all" else (state,), ids, reason, older_than, user_id)
    with opened(queue_url, queue_name, prefix) as queue:
        found = chosen.find(queue)
        everyone = [job for jobs in found.values() for job in jobs]
        expected = sum(job.events for job in everyone)
        missing = len(set(ids)) - len(everyone)
        if missing > 0:
            raise click.ClickException(
                f"{format_count(missing, 'job')} of those named were not there; nothing was written"
            )
        if purge and everyone and not (yes or dry_run):
            confirm(f"Write {chosen.describe(len(everyone), expected)} to {file}, and delete them for good?")
        with _written_to(target, force=force, dry_run=dry_run) as out:
            written = _export(queue, found, user_id, out)
            if everyone and not written:
                raise click.ClickException(
                    f"none of {format_count(len(everyone), 'job')} could be read: moved on meanwhile, or unreadable and "
                    "kept (does it take EVENTSPOOL_ENCRYPTION_KEY?); nothing was written"
                )
        purged = _purge(queue, found, written, dry_run=dry_run) if purge else None
    count = sum(written.values())
    if as_json:
        more = {} if purged is None else {"purged": purged}
        print_json({"exported": count, "file": file, **more, **({"dry_run": True} if dry_run else {})})
    else:
        where = "" if file == "-" else f" to {file}"
        gone = "" if purged is None else f", purged {format_count(purged, 'job')}"
        say(f"{'would have ' if dry_run else ''}exported {format_count(count, 'event')}{where}{gone}")
    if purged is not None and purged < len(written):
        say(
            f"{format_count(len(written) - purged, 'job')} moved on meanwhile: both in the file and not purged"
        )
    if user_id is None and count < expected:
        say(
            f"{format_count(expected - count, 'event')} less than counted: moved on meanwhile, or unreadable and kept"
        )
        sys.exit(1)


def _check_purge(file: str, state: str, user_id: str | None) -> None:
    if file == "-":
        raise click.UsageError(
            "--purge needs a file: nobody knows whether a pipe's other end has kept what it read"
        )
    if state == "leased":
        raise click.UsageError("leased jobs are being sent; they cannot be purged")
    if user_id is not None:
        raise click.UsageError(
            "--purge deletes whole jobs, and others' events with them: export, then `purge --user-id`"
        )


def _is_there(target: Path) -> click.ClickException:
    return click.ClickException(
        f"{target.name} is there already, perhaps with what an earlier export purged: name another file, or say --force"
    )


def _export(queue: Queue, found: dict[str, list[Job]], user_id: str | None, out: IO[bytes]) -> dict[str, int]:
    """Write the events, and return how many by job."""
    written: dict[str, int] = {}
    with progress("exporting", sum(map(len, found.values()))) as advance:
        for jobs in found.values():
            for page in pages(jobs):
                # A job that has changed its state meanwhile is listed twice.
                new = [job_id for job_id in page if job_id not in written]
                written |= queue.write_events(out, new, user_id=user_id)
                advance(len(page))
    return written


def _purge(queue: Queue, found: dict[str, list[Job]], written: dict[str, int], *, dry_run: bool) -> int:
    """Delete the jobs that were written. What came or changed its state since the file was begun is not among them."""
    if dry_run:
        return len(written)
    count = 0
    with progress("deleting", len(written)) as advance:
        for state, jobs in found.items():
            for page in pages([job for job in jobs if job.id in written]):
                count += queue.purge(state, page)
                advance(len(page))
    return count


def _written_to(target: Path | None, *, force: bool, dry_run: bool) -> AbstractContextManager[IO[bytes]]:
    if dry_run:
        return Path(os.devnull).open("wb")  # counting leaves no copy anywhere
    return _standard_output() if target is None else _new_file(target, force=force)


@contextlib.contextmanager
def _standard_output() -> Iterator[IO[bytes]]:
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _new_file(target: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """Yield what becomes *target*, whole or not at all, and survives a power cut from then on."""
    handle, name = tempfile.mkstemp(prefix=".eventspool-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _put(Path(name), target, force=force)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        Path(name).unlink(missing_ok=True)


def _put(whole: Path, target: Path, *, force: bool) -> None:
    if not force:
        try:
            # Unlike a rename, never in the place of what another export has just put there.
            target.hardlink_to(whole)
        except FileExistsError:
            raise _is_there(target) from None
        except OSError:  # a file system without links
            if target.exists():
                raise _is_there(target) from None
        else:
            return
    whole.replace(target)
