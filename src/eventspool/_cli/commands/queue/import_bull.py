"""``queue import-bull``: take over what a Node SDK left in Redis."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from eventspool._cli.answer import print_json
from eventspool._cli.commands.queue.opened import dry_run_option, progress
from eventspool._cli.kinds import Kind
from eventspool._cli.options import encryption_key, json_option, queue_options, sharing_options
from eventspool._cli.output import format_count, printable, say
from eventspool._cli.signals import Stop
from eventspool._config import QueueOpts, RedisOpts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eventspool._cli.options import QueueAddress
    from eventspool._operate.bull.importing import Imported, Wanted
    from eventspool._operate.bull.source import BullQueue

__all__ = ["import_bull"]

_PLACES = ("active", "waiting", "paused", "delayed", "failed")
_SHOWN_IDS = 5
_LISTED_IDS = 1000
_MAX_EVENT_BYTES = 32_768
_MAX_BATCH_BYTES = 460_800


@click.command()
@click.argument("source_url", metavar="URL")
@queue_options(required=True)
@click.option(
    "--write-key",
    "-k",
    metavar="KEY",
    envvar="EVENTSPOOL_WRITE_KEY",
    required=True,
    show_envvar=True,
    help="Take the batches that are meant for this write key; the others are named and left. Better given in the "
    "environment: others can read a command line.",
)
@click.option(
    "--bull-name",
    metavar="NAME",
    default="hightouchEventsQueue",
    show_default=True,
    help="The queueName of the Node SDK. RudderStack's own is rudderEventsQueue.",
)
@click.option(
    "--bull-prefix",
    metavar="PREFIX",
    default="hightouch",
    show_default=True,
    help="The prefix of the Node SDK, without the braces that it adds. RudderStack's own is rudder.",
)
@click.option(
    "--state",
    "places",
    type=click.Choice(_PLACES),
    multiple=True,
    help="Only jobs that are there in Bull's queue; may be repeated.  [default: all of these]",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Take this number of jobs at most.")
@click.option(
    "--max-event-bytes",
    type=click.IntRange(1),
    default=_MAX_EVENT_BYTES,
    show_default=True,
    metavar="BYTES",
    help="Leave batches with a larger event, as clients refuse such an event.",
)
@sharing_options("As for the workers of the queue; a queue in Redis knows it by itself.")
@click.option(
    "--follow", is_flag=True, help="Go on until Ctrl-C, for jobs that Node processes still store or give up."
)
@dry_run_option
@json_option
def import_bull(
    source_url: str,
    address: QueueAddress,
    write_key: str,
    bull_name: str,
    bull_prefix: str,
    places: tuple[str, ...],
    limit: int | None,
    max_event_bytes: int,
    *,
    sharing: Mapping[str, Any],
    follow: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Take over what a Node SDK left in Redis at URL.

    The SDKs of Hightouch and RudderStack for Node.js keep batches in a queue of Bull's. Each job of it is stored in --queue
    and only then deleted there, so that nothing is lost at any moment, and a run that was interrupted can be repeated. Node
    processes may run meanwhile. Nothing of what Bull holds is evaluated: a batch that is more than data is left.

    A job that a Node process works on is its own until its lock ends, 30 seconds after the process has died; the command
    takes it then. Jobs that had failed come into the failed queue. Others begin anew with no attempts. Events keep their
    messageId, their times and their values.

    The exit status is 1 where jobs were left that are meant for this write key.

    \b
    Example:
      eventspool queue import-bull redis://localhost:6379/0 --queue redis://localhost:6379/1
    """
    from eventspool._operate.bull.importing import Wanted
    from eventspool._operate.bull.source import BullQueue

    wanted = Wanted(
        write_key=write_key,
        places=[each for each in _PLACES if each in places or not places],
        limit=limit,
        max_event_bytes=max_event_bytes,
        max_batch_bytes=_MAX_BATCH_BYTES,
    )
    target = address.opts(**sharing, encryption_key=encryption_key())
    with BullQueue(
        RedisOpts(url=source_url), name=bull_name, prefix=f"{{{bull_prefix.strip('{}')}}}"
    ) as source:
        done = _import(source, None if dry_run else target, wanted, as_it_is=not sharing, follow=follow)
    if as_json:
        print_json(Kind.IMPORT, _as_json(done, dry_run=dry_run))
    else:
        _show(done, bull_name, dry_run=dry_run)
    sys.exit(0 if done.is_complete or follow or (limit is not None and done.jobs >= limit) else 1)


def _import(
    source: BullQueue, target: QueueOpts | None, wanted: Wanted, *, as_it_is: bool, follow: bool
) -> Imported:
    from eventspool._operate.bull.importing import Imported, import_jobs
    from eventspool._operate.move import create_target
    from eventspool._operate.queue import Queue
    from eventspool._operate.trail import Action

    stop, imported = Stop(), Imported()
    counts = source.count()
    jobs = sum(counts[place] for place in wanted.places)
    backend = None if target is None else create_target(target, as_it_is=as_it_is)
    try:
        with stop.listening(), progress("importing", jobs) as advance:
            if backend is not None:
                backend.open()
            return import_jobs(
                source,
                backend,
                wanted,
                stopping=lambda: stop.asked,
                on_job=advance,
                follow=follow and backend is not None,
                imported=imported,
            )
    finally:
        if backend is not None:
            if imported.jobs:  # also where an error has ended it half done
                action = Action(
                    "import", jobs=imported.jobs, events=imported.events, note="from a queue of Bull's"
                )
                Queue(backend, owns_backend=False).note(action)
            backend.close()


def _as_json(done: Imported, *, dry_run: bool) -> dict[str, Any]:
    left = {
        reason: {"jobs": len(ids), "ids": list(map(printable, ids[:_LISTED_IDS]))}
        for reason, ids in done.left.items()
    }
    return {**asdict(done), "left": left, **({"dry_run": True} if dry_run else {})}


def _show(done: Imported, name: str, *, dry_run: bool) -> None:
    from eventspool._operate.bull.importing import LEFT

    took = "would take over" if dry_run else "took over"
    say(f"{took} {format_count(done.jobs, 'job')}, {format_count(done.events, 'event')}")
    if done.failed:
        say(f"{format_count(done.failed, 'job')} of them had failed: see `eventspool queue failed`")
    if done.known:
        say(f"{format_count(done.known, 'job')} had been stored here before, and were not stored again")
    if done.returned:
        say(
            f"{format_count(done.returned, 'job')} took too long to store; a Node process may deliver them, too, "
            "with the same messageIds"
        )
    for reason, ids in done.left.items():
        some = ", ".join(map(printable, ids[:_SHOWN_IDS])) + (", …" if len(ids) > _SHOWN_IDS else "")
        say(f"left {format_count(len(ids), 'job')} ({some}): {LEFT[reason]}")
    if done.completed:
        say(
            f"{format_count(done.completed, 'job')} that Node processes have delivered stay in Bull's queue {name!r}, with "
            "the write key and the events in them: delete its keys when no Node process uses it any more"
        )
