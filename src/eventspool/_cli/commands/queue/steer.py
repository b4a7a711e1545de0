"""``queue retry``, ``purge``, ``pause`` and ``resume``: what operators decide."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from eventspool._cli.answer import print_json
from eventspool._cli.commands.queue.erase import erase_user
from eventspool._cli.commands.queue.first import retry_some_first
from eventspool._cli.commands.queue.opened import (
    PURGEABLE,
    Planned,
    Unused,
    confirm,
    describe,
    dry_run_option,
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
from eventspool._cli.output import console, format_count, say
from eventspool._job import JobState
from eventspool._operate.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._cli.options import QueueAddress
    from eventspool._operate.queue import Queue

__all__ = ["pause", "purge", "resume", "retry"]


@click.command()
@queue_options(required=True)
@selection_options(["failed", "delayed"], "Failed jobs start anew; delayed ones come due at once.")
@click.option(
    "--then-rest",
    is_flag=True,
    help="With --limit: see what becomes of these, and retry the rest once all of them were delivered.",
)
@click.option(
    "--wait",
    "patience",
    type=click.FloatRange(0),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="With --then-rest: for how long at most.",
)
@dry_run_option
@json_option
def retry(
    address: QueueAddress,
    chosen: Selection,
    patience: float,
    *,
    then_rest: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Put failed jobs back into the queue, with no attempts counted.

    \b
    Examples:
      eventspool queue retry --all
      eventspool queue retry --reason max_attempts --older-than 1h
      eventspool queue retry --error "no such field" --limit 10 --then-rest
      eventspool queue retry --state delayed
    """
    if chosen.states != (JobState.FAILED,) and (chosen.reason is not None or chosen.error is not None):
        raise click.UsageError("delayed jobs have not failed yet: they have no reason and no error")
    if then_rest and (chosen.limit is None or chosen.states != (JobState.FAILED,) or dry_run):
        raise click.UsageError(
            "--then-rest tries failed jobs first: say how many with --limit, and leave --dry-run out"
        )
    with opened(address, Unused.FAIL) as queue:
        if then_rest:
            retry_some_first(queue, chosen, patience, as_json=as_json)
            return
        planned = _plan(queue, chosen) if dry_run or chosen.terms else None
        if planned is None:
            with progress("retrying", most(queue, chosen)) as advance:
                done = _retry(queue, chosen, advance)
        elif dry_run:
            done = planned.jobs
        else:
            with progress("retrying", planned.jobs) as advance:
                done = sum(
                    _retry(queue, Selection((state,), ids), advance) for state, ids in planned.ids.items()
                )
    _report(Kind.RETRY, "retried", done, chosen, planned, as_json=as_json, dry_run=dry_run)


def _retry(queue: Queue, chosen: Selection, advance: Callable[[int], object]) -> int:
    if chosen.states == (JobState.FAILED,):
        return queue.retry_failed(chosen.ids, chosen.reason, on_job=advance, **chosen.conditions)
    return queue.retry_now(chosen.ids, on_job=advance, **chosen.conditions)


def _plan(queue: Queue, chosen: Selection) -> Planned:
    """Find the jobs, before they are changed, so that it can be said what else is in them."""
    return Planned.of(queue, chosen, "searching" if chosen.terms else "counting")


@click.command()
@queue_options(required=True)
@selection_options([*PURGEABLE, "all"], "Which jobs. Leased ones are never deleted.")
@yes_option
@dry_run_option
@json_option
def purge(
    address: QueueAddress,
    chosen: Selection,
    *,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Delete jobs for good. Their events will not be delivered.

    A job goes as a whole, also with events that do not match --event, --message-id or --text. But with --user-id only the
    events of that user are deleted, as by `queue erase`; other events of the same batches stay.

    \b
    Examples:
      eventspool queue purge --reason rejected --older-than 30d
      eventspool queue purge --state all --user-id user-17 --dry-run
      eventspool queue purge --state waiting --yes
    """
    with opened(address, Unused.FAIL) as queue:
        require_consent("purge", yes=yes or dry_run)
        if chosen.user_id is not None:
            erase_user(queue, chosen, yes=yes, dry_run=dry_run, as_json=as_json)
            return
        planned = None if yes and not chosen.terms and not dry_run else _plan(queue, chosen)
        done = _delete(queue, chosen, planned, yes=yes, dry_run=dry_run)
    _report(Kind.PURGE, "purged", done, chosen, planned, as_json=as_json, dry_run=dry_run)


def _delete(queue: Queue, chosen: Selection, planned: Planned | None, *, yes: bool, dry_run: bool) -> int:
    if planned is None:
        left, done = chosen, 0
        with progress("deleting", most(queue, chosen)) as advance:
            for state in chosen.states:
                done += queue.purge(state, chosen.ids, chosen.reason, on_job=advance, **left.conditions)
                if chosen.limit is not None:
                    if done >= chosen.limit:
                        break
                    left = replace(chosen, limit=chosen.limit - done)
        return done
    if dry_run:
        return planned.jobs
    if planned.jobs and not yes:
        confirm(f"Delete {describe(chosen, planned)} for good?")
    with progress("deleting", planned.jobs) as advance:
        return sum(queue.purge(state, ids, on_job=advance) for state, ids in planned.ids.items())


def _report(
    kind: Kind,
    verb: str,
    done: int,
    chosen: Selection,
    planned: Planned | None,
    *,
    as_json: bool,
    dry_run: bool,
) -> None:
    more: dict[str, object] = {}
    if planned is not None and chosen.terms:
        more = {"events": planned.events, "matching_events": planned.matching}
        more["unreadable_jobs"] = planned.unreadable
    if dry_run:
        more["dry_run"] = True
    if as_json:
        print_json(kind, {verb: done, **more})
    else:
        console().print(f"{'would have ' if dry_run else ''}{verb} {format_count(done, 'job')}")
    if planned is not None:
        if planned.matching < planned.events:
            say(
                f"these jobs hold {format_count(planned.events, 'event')}, of which {planned.matching:,} "
                f"{'matches' if planned.matching == 1 else 'match'}: a job goes as a whole"
            )
        say_unreadable(planned.unreadable)
    require_all(chosen.ids if not chosen.terms else None, done)


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
    with opened(address, Unused.FAIL_BESIDE_OTHERS) as queue:
        stats = queue.stats()
        queue.pause(reason)
    waiting = stats.waiting.jobs + stats.delayed.jobs
    if as_json:
        print_json(Kind.PAUSE, {"paused": True, "unfinished_jobs": waiting + stats.leased.jobs})
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
    with opened(address, Unused.FAIL_BESIDE_OTHERS) as queue:
        stats = queue.stats()  # before the change, because a worker may take jobs at once
        queue.resume()
    waiting = stats.waiting.jobs + stats.delayed.jobs
    if as_json:
        print_json(Kind.PAUSE, {"paused": False, "unfinished_jobs": waiting + stats.leased.jobs})
    else:
        console().print(f"resumed; {format_count(waiting, 'job')} can be delivered")
