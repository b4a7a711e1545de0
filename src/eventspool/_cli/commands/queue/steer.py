"""``queue retry``, ``purge``, ``pause`` and ``resume``: what operators decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from eventspool._cli.commands.queue.erase import erase_user
from eventspool._cli.commands.queue.opened import (
    PURGEABLE,
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
from eventspool._cli.output import console, format_count, print_json

if TYPE_CHECKING:
    from eventspool._job import Job
    from eventspool._queue import Queue

__all__ = ["pause", "purge", "resume", "retry"]


def _check_selection(ids: tuple[str, ...], reason: str | None, *, everything: bool) -> None:
    if everything and (ids or reason):
        raise click.UsageError("--all goes neither with --id nor with --reason")


@click.command()
@queue_options(required=True)
@selection_options
@click.option(
    "--state",
    type=click.Choice(["failed", "delayed"]),
    default="failed",
    show_default=True,
    help="Failed ones start anew; delayed ones come due at once.",
)
@age_option
@dry_run_option
@json_option
def retry(
    queue_url: str,
    queue_name: str,
    prefix: str,
    ids: tuple[str, ...],
    reason: str | None,
    state: str,
    older_than: float | None,
    *,
    everything: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Put failed jobs back into the queue, with no attempts counted.

    \b
    Examples:
      eventspool queue retry --all
      eventspool queue retry --reason max_attempts --older-than 1h
      eventspool queue retry --state delayed
    """
    _check_selection(ids, reason, everything=everything)
    if reason and state == "delayed":
        raise click.UsageError("delayed jobs have not failed yet: they have no reason")
    chosen = Selection((state,), ids, reason, older_than)
    with opened(queue_url, queue_name, prefix) as queue:
        [jobs] = chosen.find(queue).values()
        count = len(jobs)
        if not dry_run:
            again = queue.retry_failed if state == "failed" else queue.retry_now
            count = 0
            with progress("retrying", len(jobs)) as advance:
                for page in pages(jobs):
                    count += again(page)
                    advance(len(page))
    _report("retried", count, ids, as_json=as_json, dry_run=dry_run)


@click.command()
@queue_options(required=True)
@selection_options
@click.option(
    "--state",
    type=click.Choice([*PURGEABLE, "all"]),
    default="failed",
    show_default=True,
    help="Which jobs. Leased ones are never deleted.",
)
@age_option
@user_option
@yes_option
@dry_run_option
@json_option
def purge(
    queue_url: str,
    queue_name: str,
    prefix: str,
    ids: tuple[str, ...],
    reason: str | None,
    state: str,
    older_than: float | None,
    user_id: str | None,
    *,
    everything: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Delete jobs for good. Their events will not be delivered.

    With --user-id only that user's events are deleted, out of batches that hold others', too. What is being sent, was sent in
    part or cannot be read is left and named, and the exit status is 1: ask again until it is 0.

    \b
    Examples:
      eventspool queue purge --reason rejected --older-than 30d
      eventspool queue purge --state all --user-id user-17 --dry-run
      eventspool queue purge --state waiting --yes
    """
    _check_selection(ids, reason, everything=everything)
    chosen = Selection(PURGEABLE if state == "all" else (state,), ids, reason, older_than, user_id)
    with opened(queue_url, queue_name, prefix) as queue:
        require_consent("purge", yes=yes or dry_run)
        if user_id is not None:
            where = None if state == "all" else state
            erase_user(queue, chosen, where, yes=yes, dry_run=dry_run, as_json=as_json)
            return
        found = chosen.find(queue)
        everyone = [job for jobs in found.values() for job in jobs]
        if not (yes or dry_run) and everyone:
            confirm(f"Delete {chosen.describe(len(everyone), sum(job.events for job in everyone))} for good?")
        count = len(everyone) if dry_run else _delete(queue, found)
    _report("purged", count, ids, as_json=as_json, dry_run=dry_run)


def _delete(queue: Queue, found: dict[str, list[Job]]) -> int:
    count = 0
    with progress("deleting", sum(map(len, found.values()))) as advance:
        for state, jobs in found.items():
            for page in pages(jobs):
                count += queue.purge(state, page)
                advance(len(page))
    return count


def _report(verb: str, count: int, ids: tuple[str, ...], *, as_json: bool, dry_run: bool = False) -> None:
    if as_json:
        print_json({verb: count, "dry_run": True} if dry_run else {verb: count})
    else:
        console().print(f"{'would have ' if dry_run else ''}{verb} {format_count(count, 'job')}")
    missing = len(set(ids)) - count
    if missing > 0:
        raise click.ClickException(f"{format_count(missing, 'job')} of those named were not there")


@click.command()
@queue_options(required=True)
@json_option
def pause(queue_url: str, queue_name: str, prefix: str, *, as_json: bool) -> None:
    """
    Hand out no more jobs, to any worker, until `resume`. Events are accepted as before.

    \b
    Example:
      eventspool queue pause --queue redis://localhost:6379/0
    """
    _set_paused(queue_url, queue_name, prefix, paused=True, as_json=as_json)


@click.command()
@queue_options(required=True)
@json_option
def resume(queue_url: str, queue_name: str, prefix: str, *, as_json: bool) -> None:
    """
    Hand out jobs again.

    \b
    Example:
      eventspool queue resume --queue redis://localhost:6379/0
    """
    _set_paused(queue_url, queue_name, prefix, paused=False, as_json=as_json)


def _set_paused(queue_url: str, queue_name: str, prefix: str, *, paused: bool, as_json: bool) -> None:
    with opened(queue_url, queue_name, prefix) as queue:
        stats = queue.stats()  # before: a worker may be quick
        (queue.pause if paused else queue.resume)()
    waiting = stats.waiting.jobs + stats.delayed.jobs
    if as_json:
        print_json({"paused": paused, "unfinished_jobs": waiting})
    elif paused:
        console().print(f"paused; {format_count(waiting, 'job')} will wait for `eventspool queue resume`")
    else:
        console().print(f"resumed; {format_count(waiting, 'job')} can be delivered")
