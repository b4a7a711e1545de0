"""``queue resize``: change the number of a queue's partitions while it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from eventspool._cli.answer import print_json
from eventspool._cli.commands.queue.opened import Unused, opened
from eventspool._cli.kinds import Kind
from eventspool._cli.options import json_option, queue_options
from eventspool._cli.output import console, format_count
from eventspool._config.queue import MAX_PARTITIONS

if TYPE_CHECKING:
    from eventspool._cli.options import QueueAddress

__all__ = ["resize"]


@click.command()
@click.argument("partitions", metavar="N", type=click.IntRange(1, MAX_PARTITIONS))
@queue_options(required=True)
@json_option
def resize(address: QueueAddress, partitions: int, *, as_json: bool) -> None:
    """
    Spread the queue over N partitions from now on, while clients and workers run.

    What is stored stays where it is until it is delivered; new events go to the new partitions. Nothing is lost, and with
    --ordering per_user the order of each user's events holds. A command that was interrupted can be run again. Clients and
    workers of versions that know no partitions must be upgraded before: they find the queue full.

    \b
    Examples:
      eventspool queue resize 8 --queue redis://localhost:6379/0
      eventspool queue status
    """
    with opened(address, Unused.FAIL_BESIDE_OTHERS) as queue:
        queue.resize(partitions)
        draining = sum(each.unfinished.jobs for each in queue.partitions() if each.sealed)
    if as_json:
        print_json(Kind.RESIZE, {"partitions": partitions, "draining_jobs": draining})
        return
    console().print(f"the queue has {format_count(partitions, 'partition')} now")
    if draining:
        console().print(f"{format_count(draining, 'job')} in the ones before will be delivered from there")
