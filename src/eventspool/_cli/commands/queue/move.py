"""``queue move``: take a queue somewhere else."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from eventspool._cli.commands.queue.opened import dry_run_option, opened, progress
from eventspool._cli.options import encryption_key, json_option, queue_options, require_existing
from eventspool._cli.output import format_count, print_json, say
from eventspool._cli.signals import Stop
from eventspool._config import QueueOpts, RedisOpts

if TYPE_CHECKING:
    from eventspool._move import Moved

__all__ = ["move"]


@click.command()
@queue_options(required=True)
@click.option(
    "--to",
    "to_url",
    metavar="URL",
    required=True,
    help="Where to: redis://HOST:PORT/DB, unix://PATH or sqlite:///PATH.",
)
@click.option("--to-name", metavar="NAME", help="The queue's name there.  [default: as here]")
@click.option("--to-prefix", metavar="PREFIX", help="What its keys begin with there.  [default: as here]")
@click.option(
    "--multi/--single",
    envvar="EVENTSPOOL_MULTI",
    default=False,
    show_envvar=True,
    help="As the workers of both queues have it; a queue in Redis knows.  [default: single]",
)
@click.option("--follow", is_flag=True, help="Go on, until Ctrl-C, with what producers still store.")
@dry_run_option
@json_option
def move(
    queue_url: str,
    queue_name: str,
    prefix: str,
    to_url: str,
    to_name: str | None,
    to_prefix: str | None,
    *,
    multi: bool,
    follow: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Move all unfinished jobs to another queue, while clients run.

    Each job is leased here, stored there under the same id, and only then forgotten here: nothing is lost at any moment, and
    if it is interrupted, run it again. Attempts start anew; failed jobs stay (retry them first). A producer that waits
    for its events sees those moved as delivered.

    \b
    Example (the producers store in the new queue already, and workers run there):
      eventspool queue move --queue sqlite:///events.db --to redis://localhost:6379/0
    """
    key = encryption_key()
    source = QueueOpts(
        url=queue_url, queue_name=queue_name, prefix=prefix, is_multi_processor=multi, encryption_key=key
    )
    target = QueueOpts(
        url=to_url,
        queue_name=to_name or queue_name,
        prefix=to_prefix or prefix,
        is_multi_processor=multi,
        encryption_key=key,
    )
    require_existing(queue_url)
    with opened(queue_url, queue_name, prefix) as queue:
        stats = queue.stats()
    unfinished = stats.waiting.jobs + stats.delayed.jobs + stats.leased.jobs
    if dry_run:
        if as_json:
            print_json({"moved": unfinished, "failed_left": stats.failed.jobs, "dry_run": True})
        else:
            say(f"would move {format_count(unfinished, 'job')}; {stats.failed.jobs:,} failed ones would stay")
        return
    moved = _move(source, target, unfinished, follow=follow)
    if as_json:
        print_json(asdict(moved))
    else:
        _show(moved)
    sys.exit(0 if moved.is_complete or follow else 1)


def _move(source: QueueOpts, target: QueueOpts, unfinished: int, *, follow: bool) -> Moved:
    from eventspool._backends import create_backend
    from eventspool._move import move_jobs

    stop = Stop()
    here = create_backend(source, observe=isinstance(source.target, RedisOpts))
    there = create_backend(target)
    try:
        with stop.listening(), progress("moving", unfinished) as advance:
            here.open()
            there.open()
            return move_jobs(here, there, stopping=lambda: stop.asked, on_moved=advance, follow=follow)
    finally:
        here.close()
        there.close()


def _show(moved: Moved) -> None:
    say(f"moved {format_count(moved.jobs, 'job')}, {format_count(moved.events, 'event')}")
    if moved.known:
        say(f"{format_count(moved.known, 'job')} of them had been stored there before an interruption")
    if moved.unreadable:
        say(f"{format_count(moved.unreadable, 'job')} had no payload any more and are in the failed queue")
    if moved.failed_left:
        say(f"{format_count(moved.failed_left, 'failed job')} stayed: retry, export or purge them there")
    if not moved.is_complete:
        say("not all of it: run it again")
