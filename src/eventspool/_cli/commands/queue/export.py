"""``queue export``: events as JSON lines."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from eventspool._cli.commands.queue.opened import (
    STATES,
    Selection,
    age_option,
    dry_run_option,
    opened,
    pages,
    progress,
    selection_options,
    user_option,
)
from eventspool._cli.options import json_option, queue_options
from eventspool._cli.output import format_count, print_json, say

if TYPE_CHECKING:
    from eventspool._job import Job
    from eventspool._queue import Queue

__all__ = ["export"]


@click.command()
@queue_options(required=True)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@selection_options
@click.option(
    "--state", type=click.Choice([*STATES, "all"]), default="failed", show_default=True, help="Which jobs."
)
@age_option
@user_option
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
    everything: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Write the events of jobs to FILE (- is the standard output), one a line.

    Nothing leaves the queue. `eventspool send` takes the file back in. The exit status is 1 where fewer events could
    be written than there are.

    \b
    Examples:
      eventspool queue export failed.jsonl && eventspool queue purge --yes
      eventspool queue export --state all --user-id user-17 user-17.jsonl
    """
    if as_json and file == "-" and not dry_run:
        raise click.UsageError("--json and the events cannot both go to the standard output")
    if everything and (ids or reason):
        raise click.UsageError("--all goes neither with --id nor with --reason")
    if file != "-" and not Path(file).absolute().parent.is_dir():
        raise click.UsageError(f"there is no folder {str(Path(file).parent)!r}")
    chosen = Selection(tuple(STATES) if state == "all" else (state,), ids, reason, older_than, user_id)
    with opened(queue_url, queue_name, prefix) as queue:
        found = chosen.find(queue)
        count = _export(queue, found, user_id, None if dry_run else file)
    expected = sum(job.events for jobs in found.values() for job in jobs)
    if as_json:
        print_json({"exported": count, "file": file, **({"dry_run": True} if dry_run else {})})
    else:
        where = "" if file == "-" else f" to {file}"
        say(f"{'would have ' if dry_run else ''}exported {format_count(count, 'event')}{where}")
    if user_id is None and count < expected:
        say(
            f"{format_count(expected - count, 'event')} less than counted: moved on meanwhile, or unreadable and kept"
        )
        sys.exit(1)  # so that `export && purge` purges nothing that was not exported
    missing = len(set(ids)) - sum(map(len, found.values()))
    if missing > 0:
        raise click.ClickException(f"{format_count(missing, 'job')} of those named were not there")


def _export(queue: Queue, found: dict[str, list[Job]], user_id: str | None, file: str | None) -> int:
    """Write the events to *file*, which appears whole or not at all. Return how many."""
    target = Path(file) if file not in (None, "-") else None
    count = 0
    with (
        tempfile.TemporaryDirectory(
            prefix=".eventspool-", dir=target.absolute().parent if target else None
        ) as folder,
        progress("exporting", sum(map(len, found.values()))) as advance,
    ):
        whole, part = Path(folder) / "whole", Path(folder) / "part"
        with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
            for state, jobs in found.items():
                for page in pages(jobs):
                    count += queue.export(part, state, page, user_id=user_id)
                    _append(part, written)
                    advance(len(page))
            written.flush()
            os.fsync(written.fileno())
        if target is not None:
            whole.replace(target)
        elif file == "-":
            with whole.open("rb") as read:
                shutil.copyfileobj(read, sys.stdout.buffer)
            sys.stdout.buffer.flush()
    return count


def _append(part: Path, written: IO[bytes]) -> None:
    with part.open("rb") as read:
        shutil.copyfileobj(read, written)
