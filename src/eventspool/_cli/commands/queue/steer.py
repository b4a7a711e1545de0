"""``queue retry``, ``purge``, ``pause`` and ``resume``: what operators decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from eventspool._cli.answer import print_json
from eventspool._cli.commands.queue.erase import erase_user
from eventspool._cli.commands.queue.opened import (
    PURGEABLE,
    Planned,
    confirm,
    count,
    describe,
    dry_run_option,
    most,
    opened,
    progress,
    require_all,
    require_consent,
    selection_options,
    user_option,
    yes_option,
)
from eventspool._cli.kinds import Kind
from eventspool._cli.options import json_option, queue_options
from eventspool._cli.output import console, format_count
from eventspool._job import JobState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._cli.options import QueueAddress
    from eventspool._operate.queue import Queue
    from eventspool._operate.selection import Selection

__all__ = ["pause", "purge", "resume", "retry"]


@click.command()
@queue_options(required=True)
@selection_options(["failed", "delayed"], "Failed jobs start anew; delayed ones come due at once.")
@dry_run_option
@json_option
def retry(address: QueueAddress, chosen: Selection, *, dry_run: bool, as_json: bool) -> None:
    """
    Put failed jobs back into the queue, with no attempts counted.

    \b
    Examples:
      eventspool queue retry --all
      eventspool queue retry --reason max_attempts --older-than 1h
      eventspool queue retry --state delayed
    """
    is_failed = chosen.states == (JobState.FAILED,)
    if chosen.reason and not is_failed:
        raise click.UsageError("delayed jobs have not failed yet: they have no reason")
    with opened(address) as queue:
        if dry_run:
            done = count(queue, chosen)
        else:
            with progress("retrying", most(queue, chosen)) as advance:
                ids, age = chosen.ids, chosen.older_than
                if is_failed:
                    done = queue.retry_failed(ids, chosen.reason, older_than=age, on_job=advance)
                else:
                    done = queue.retry_now(ids, older_than=age, on_job=advance)
    _report(Kind.RETRY, "retried", done, chosen.ids, as_json=as_json, dry_run=dry_run)


@click.command()
@queue_options(required=True)
@selection_options([*PURGEABLE, "all"], "Which jobs. Leased ones are never deleted.")
@user_option
@yes_option
@dry_run_option
@json_option
def purge(
    address: QueueAddress,
    chosen: Selection,
    user_id: str | None,
    *,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Delete jobs for good. Their events will not be delivered.

    With --user-id only the events of that user are deleted; other events of the same batches stay. A batch that is being sent,
    was sent in part or cannot be read is left and named, and the exit status is 1: run the command again until it is 0.

    \b
    Examples:
      eventspool queue purge --reason rejected --older-than 30d
      eventspool queue purge --state all --user-id user-17 --dry-run
      eventspool queue purge --state waiting --yes
    """
    with opened(address) as queue:
        require_consent("purge", yes=yes or dry_run)
        if user_id is not None:
            erase_user(queue, chosen, user_id, yes=yes, dry_run=dry_run, as_json=as_json)
            return
        act = count if dry_run else _delete if yes else _ask_and_delete
        done = act(queue, chosen)
    _report(Kind.PURGE, "purged", done, chosen.ids, as_json=as_json, dry_run=dry_run)


def _delete(queue: Queue, chosen: Selection) -> int:
    with progress("deleting", most(queue, chosen)) as advance:
        return sum(
            queue.purge(state, chosen.ids, chosen.reason, older_than=chosen.older_than, on_job=advance)
            for state in chosen.states
        )


def _ask_and_delete(queue: Queue, chosen: Selection) -> int:
    planned = Planned.of(queue, chosen)
    if planned.jobs:
        confirm(f"Delete {describe(chosen, planned)} for good?")
    with progress("deleting", planned.jobs) as advance:
        return sum(queue.purge(state, ids, on_job=advance) for state, ids in planned.ids.items())


def _report(
    kind: Kind, verb: str, done: int, ids: Sequence[str] | None, *, as_json: bool, dry_run: bool = False
) -> None:
    if as_json:
        print_json(kind, {verb: done, "dry_run": True} if dry_run else {verb: done})
    else:
        console().print(f"{'would have ' if dry_run else ''}{verb} {format_count(done, 'job')}")
    require_all(ids, done)


@click.command()
@queue_options(required=True)
@click.option("--reason", metavar="TEXT", default="", help="Why, for whoever finds the queue paused.")
@json_option
def pause(address: QueueAddress, reason: str, *, as_json: bool) -> None:
    """
    Hand out no more jobs, to any worker, until `resume`. Events are accepted as before.

    \b
    Example:
      eventspool queue pause --reason "the warehouse is being moved, until 14:00"
    """
    with opened(address) as queue:
        stats = queue.stats()
        queue.pause(reason)
    waiting = stats.waiting.jobs + stats.delayed.jobs
    if as_json:
        print_json(Kind.PAUSE, {"paused": True, "unfinished_jobs": waiting})
    else:
        console().print(f"paused; {format_count(waiting, 'job')} will wait for `eventspool queue resume`")


@click.command()
@queue_options(required=True)
@json_option
def resume(address: QueueAddress, *, as_json: bool) -> None:
    """
    Hand out jobs again.

    \b
    Example:
      eventspool queue resume --queue redis://localhost:6379/0
    """
    with opened(address) as queue:
        stats = queue.stats()  # before the change, because a worker may take jobs at once
        queue.resume()
    waiting = stats.waiting.jobs + stats.delayed.jobs
    if as_json:
        print_json(Kind.PAUSE, {"paused": False, "unfinished_jobs": waiting})
    else:
        console().print(f"resumed; {format_count(waiting, 'job')} can be delivered")
