"""``queue move``: move a queue's jobs to another file or server."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from eventspool._cli.answer import print_json
from eventspool._cli.commands.queue.opened import Unused, dry_run_option, opened, progress
from eventspool._cli.kinds import Kind
from eventspool._cli.options import encryption_key, json_option, queue_options, sharing_options
from eventspool._cli.output import format_count, say
from eventspool._cli.signals import Stop
from eventspool._config import QueueOpts
from eventspool._config.stores import list_urls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eventspool._backends import Backend
    from eventspool._cli.options import QueueAddress
    from eventspool._operate.move import Moved

__all__ = ["move"]


@click.command()
@queue_options(required=True)
@click.option(
    "--to",
    "to_url",
    metavar="URL",
    required=True,
    help=f"The queue to move to: {list_urls()}.",
)
@click.option("--to-name", metavar="NAME", help="The name of that queue.  [default: the same]")
@click.option("--to-prefix", metavar="PREFIX", help="What its keys begin with.  [default: the same]")
@sharing_options("As for the workers of both queues; a queue in Redis knows it by itself.")
@click.option("--failed", is_flag=True, help="Move failed jobs, too; they stay failed in the other queue.")
@click.option("--follow", is_flag=True, help="Go on until Ctrl-C, for jobs that producers still store here.")
@dry_run_option
@json_option
def move(
    address: QueueAddress,
    to_url: str,
    to_name: str | None,
    to_prefix: str | None,
    *,
    sharing: Mapping[str, Any],
    failed: bool,
    follow: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Move all unfinished jobs to another queue, while clients run.

    Each job is leased here, stored there under the same id, and only then forgotten here. So nothing is lost at any moment,
    and a move that was interrupted can be run again. A job keeps its count of attempts, and the record of the events in it
    that were delivered. Failed jobs are moved only with --failed. A producer that waits for events of a moved job is told only
    that they were moved. Where the new queue is to keep the order per user, and no process has used it yet, give
    --ordering per_user.

    \b
    Example (the producers store in the new queue already, and workers run there):
      eventspool queue move --queue sqlite:///events.db --to redis://localhost:6379/0
    """
    key = encryption_key()
    # A source in Redis knows by itself how it is divided, and in which order it is; a file has one partition.
    is_fifo = sharing.get("ordering", "none" if sharing.get("is_multi_processor") else "fifo") == "fifo"
    source = address.opts(ordering="fifo" if is_fifo else "none", partitions=1, encryption_key=key)
    target = QueueOpts(
        url=to_url,
        queue_name=to_name or address.queue_name,
        prefix=to_prefix or address.prefix,
        **sharing,
        encryption_key=key,
    )
    with opened(address, Unused.FAIL) as queue:
        stats = queue.stats()
    chosen = stats.waiting.jobs + stats.delayed.jobs + stats.leased.jobs + failed * stats.failed.jobs
    failed_left = 0 if failed else stats.failed.jobs
    if dry_run:
        if as_json:
            print_json(Kind.MOVE, {"jobs": chosen, "failed_left": failed_left, "dry_run": True})
        else:
            say(f"would move {format_count(chosen, 'job')}; {failed_left:,} failed ones would stay")
        return
    moved = _move(source, target, chosen, as_it_is=not sharing, failed=failed, follow=follow)
    if as_json:
        print_json(Kind.MOVE, asdict(moved))
    else:
        _show(moved)
    sys.exit(0 if moved.is_complete or follow else 1)


def _move(
    source: QueueOpts, target: QueueOpts, jobs: int, *, as_it_is: bool, failed: bool, follow: bool
) -> Moved:
    from eventspool._backends import create_backend
    from eventspool._operate.move import Moved, create_target, move_jobs

    stop, moved = Stop(), Moved()
    here = create_backend(source, observe=True)
    there = create_target(target, as_it_is=as_it_is)
    try:
        with stop.listening(), progress("moving", jobs) as advance:
            here.open()
            there.open()
            return move_jobs(
                here,
                there,
                stopping=lambda: stop.asked,
                on_moved=advance,
                failed=failed,
                follow=follow,
                moved=moved,
            )
    finally:
        if moved.jobs:  # also where an error has ended it half done
            _note(here, moved, f"to {_name(target)}")
            _note(there, moved, f"from {_name(source)}")
        here.close()
        there.close()


def _note(backend: Backend, moved: Moved, where: str) -> None:
    from eventspool._operate.queue import Queue
    from eventspool._operate.trail import Action

    action = Action("move", jobs=moved.jobs, events=moved.events, note=where)
    Queue(backend, owns_backend=False).note(action)


def _name(opts: QueueOpts) -> str:
    """Return the queue's name and where it is: both queues of a move mostly have the same name."""
    from eventspool._operate.survey import address_of

    return f"{opts.queue_name} ({address_of(opts)})"


def _show(moved: Moved) -> None:
    say(f"moved {format_count(moved.jobs, 'job')}, {format_count(moved.events, 'event')}")
    if moved.known:
        say(f"{format_count(moved.known, 'job')} of them had been stored there before an interruption")
    if moved.failed:
        say(f"{format_count(moved.failed, 'job')} of them had failed, and are in the failed queue there")
    if moved.too_large:
        say(f"{format_count(moved.too_large, 'job')} can never fit there and are in the failed queue here")
    if moved.unreadable:
        say(f"{format_count(moved.unreadable, 'job')} had no payload any more and are in the failed queue")
    if moved.failed_left:
        say(
            f"{format_count(moved.failed_left, 'failed job')} stayed here: add --failed, or retry, export or purge them"
        )
    if not moved.is_complete:
        say("not all of it: run it again")
