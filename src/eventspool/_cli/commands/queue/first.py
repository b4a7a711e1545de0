"""``queue retry --limit N --then-rest``: try a few jobs first, and the rest only where all of these were delivered."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from eventspool._cli.answer import print_json
from eventspool._cli.commands.queue.opened import most, progress, require_all, say_unreadable
from eventspool._cli.kinds import Kind
from eventspool._cli.output import console, format_count, say

if TYPE_CHECKING:
    from eventspool._operate.fates import Fates
    from eventspool._operate.queue import Queue
    from eventspool._operate.selection import Selection

__all__ = ["retry_some_first"]

_POLL_SECONDS = 0.25
_GRACE_SECONDS = 5.0
"""For how long the other jobs are waited for once one was refused: the rest will not be retried then."""


def retry_some_first(queue: Queue, chosen: Selection, patience: float, *, as_json: bool) -> None:
    """
    Retry the first jobs of *chosen*, watch them for *patience* seconds, and retry the rest.

    Fails where one was refused, or where one that was named is not there.
    """
    ids: list[str] = []
    unreadable = 0
    for look in queue.search("failed", chosen.ids, chosen.reason, **chosen.conditions):
        ids += [job.id for job in look.jobs]
        unreadable += len(look.unreadable)
    stats = queue.stats()
    if ids and stats.paused:
        raise click.ClickException(
            "the queue is paused, so nothing would come of them: `eventspool queue resume` it first"
        )
    if ids and not stats.processors:
        say("No worker runs. They wait until one does.")
    tried = queue.retry_failed(ids) if ids else 0
    fates = _watch(queue, ids, patience)
    rest = 0
    if fates.are_all_delivered and ids:
        others = replace(chosen, limit=None)
        with progress("retrying the rest", most(queue, others)) as advance:
            rest = queue.retry_failed(others.ids, others.reason, on_job=advance, **others.conditions)
    if as_json:
        refused = {each.reason: each.jobs for each in fates.refused}
        print_json(
            Kind.RETRY,
            {
                "retried": tried + rest,
                "tried_first": tried,
                "delivered": fates.delivered,
                "unfinished": fates.unfinished,
                "refused": refused,
            },
        )
    elif fates.are_all_delivered:
        console().print(f"retried {format_count(tried, 'job')} first, and then {rest:,} more")
    say_unreadable(unreadable)
    if not fates.are_all_delivered:
        raise click.ClickException(_tell(fates, tried))
    require_all(chosen.ids if not chosen.terms else None, tried + rest)


def _watch(queue: Queue, ids: list[str], patience: float) -> Fates:
    """Wait until each of the jobs is delivered or refused. Return what has become of them."""
    deadline = time.monotonic() + patience
    with progress("delivering", len(ids)) as advance:
        seen = 0
        while True:
            fates = queue.fates(ids)
            settled = len(ids) - fates.unfinished
            advance(settled - seen)
            seen = settled
            if fates.refused:
                deadline = min(deadline, time.monotonic() + _GRACE_SECONDS)
            if not fates.unfinished or time.monotonic() >= deadline:
                return fates
            time.sleep(_POLL_SECONDS)


def _tell(fates: Fates, tried: int) -> str:
    """Say why the rest was not retried."""
    said = [f"{fates.delivered:,} of {format_count(tried, 'job')} delivered"]
    said += [f"{each.jobs:,} refused again, as {each.reason}: {each.error}" for each in fates.refused]
    if fates.unfinished:
        said.append(f"{fates.unfinished:,} not finished")
    return f"{'; '.join(said)}. The rest was not retried"
