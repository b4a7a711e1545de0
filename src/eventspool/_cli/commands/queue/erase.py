"""
``queue erase`` and ``queue purge --user-id``: erase one user's events, and say what the operator must still do until none are
left.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from eventspool._cli.answer import print_json
from eventspool._cli.commands.queue.opened import (
    PURGEABLE,
    STATES,
    Unused,
    confirm,
    dry_run_option,
    opened,
    progress,
    require_all,
    require_consent,
    selection_options,
    yes_option,
)
from eventspool._cli.kinds import Kind
from eventspool._cli.options import json_option, queue_options
from eventspool._cli.output import console, format_count, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._cli.options import QueueAddress
    from eventspool._operate.erasure import Erasure
    from eventspool._operate.queue import Queue
    from eventspool._operate.selection import Selection

__all__ = ["erase", "erase_user"]

_SHOWN = 5
_LEFT = {
    "leased": (
        "being sent and still {have} their events",
        "ask again when that has ended, or its lease has run out",
    ),
    "sent_in_part": (
        "sent in part and still {have} their events",
        "ask again when a worker has delivered or failed the rest",
    ),
    "unreadable": (
        "not readable, so it is not known whose events {they} {have}",
        "set EVENTSPOOL_ENCRYPTION_KEY where a key is missing; else `eventspool queue purge --id` them, in their state",
    ),
}


@click.command()
@queue_options(required=True)
@selection_options([*PURGEABLE, "all"], "Out of which jobs.", state="all")
@yes_option
@dry_run_option
@json_option
def erase(address: QueueAddress, chosen: Selection, *, yes: bool, dry_run: bool, as_json: bool) -> None:
    """
    Delete one user's events for good; other events of the same batches stay.

    A batch that is being sent, was sent in part or cannot be read is left and named, and the exit status is 1: run the command
    again until it is 0. A spill file is a queue of its own: erase there, too.

    \b
    Example:
      eventspool queue erase --user-id user-17
    """
    if chosen.user_id is None:
        raise click.UsageError("erase needs --user-id; `eventspool queue purge` deletes whole jobs")
    with opened(address, Unused.FAIL) as queue:
        require_consent("erase", yes=yes or dry_run)
        erase_user(queue, chosen, yes=yes, dry_run=dry_run, as_json=as_json)


def erase_user(queue: Queue, chosen: Selection, *, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Erase the events of the selection's user out of the chosen jobs, and end with 1 while any are left."""
    if chosen.event is not None or chosen.message_id is not None or chosen.text is not None or chosen.limit:
        raise click.UsageError(
            "with --user-id all events of that user are erased: --event, --message-id, --text and --limit do not go with it"
        )
    user_id = chosen.user_id or ""
    if not (yes or dry_run):
        planned = _run(queue, chosen, user_id, "counting", dry_run=True)
        if planned.events:
            confirm(f"Erase {_describe(planned, user_id)} for good?")
    done = _run(queue, chosen, user_id, "counting" if dry_run else "erasing", dry_run=dry_run)
    if as_json:
        print_json(
            Kind.ERASURE,
            {
                "erased": done.events,
                "jobs_rewritten": done.rewritten,
                "jobs_removed": done.removed,
                "edits": done.edits,
                "unreadable_edits": done.unreadable_edits,
                "left": {cause: list(getattr(done, cause)) for cause in _LEFT},
                **({"dry_run": True} if dry_run else {}),
            },
        )
    else:
        console().print(f"{'would have ' if dry_run else ''}erased {_describe(done, user_id)}", markup=False)
    if done.edits:
        say(f"took their events out of {format_count(done.edits, 'edit')} in the queue's trail, too")
    if done.unreadable_edits:
        entries = format_count(done.unreadable_edits, "entry", "entries")
        say(
            f"left: {entries} of the trail cannot be read; set EVENTSPOOL_ENCRYPTION_KEY, and erase once more"
        )
    for cause in _LEFT:
        _say_left(cause, getattr(done, cause))
    require_all(chosen.ids, done.looked_at)
    if not (dry_run or done.is_complete):
        sys.exit(1)


def _run(queue: Queue, chosen: Selection, user_id: str, doing: str, *, dry_run: bool) -> Erasure:
    # "all" means the leased jobs, too: the operator must know which of them still hold events of the user.
    state = chosen.states[0] if len(chosen.states) == 1 else None
    stats = queue.stats()
    total = len(chosen.ids or ()) or sum(getattr(stats, each).jobs for each in ([state] if state else STATES))
    with progress(doing, total) as advance:
        return queue.erase(
            user_id,
            state,
            chosen.ids,
            chosen.reason,
            older_than=chosen.older_than,
            newer_than=chosen.newer_than,
            error=chosen.error,
            dry_run=dry_run,
            on_job=advance,
        )


def _describe(found: Erasure, user_id: str) -> str:
    """Return the same words for what would be done, is to be done and was done."""
    jobs = f"{format_count(found.rewritten, 'job')} rewritten, {found.removed:,} removed"
    return f"{format_count(found.events, 'event')} of the user {user_id!r} ({jobs})"


def _say_left(cause: str, left: Sequence[str]) -> None:
    if not left:
        return
    one = len(left) == 1
    what, advice = _LEFT[cause]
    what = what.format(have="has" if one else "have", they="it" if one else "they")
    some = ", ".join(left[:_SHOWN]) + (", …" if len(left) > _SHOWN else "")
    say(f"left: {format_count(len(left), 'job')} {'is' if one else 'are'} {what}; {advice} ({some})")
