"""``queue purge --user-id``: erase one user's events, and say what the operator must still do until none are left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from eventspool._cli.answer import print_json
from eventspool._cli.commands.queue.opened import STATES, confirm, progress, require_all
from eventspool._cli.kinds import Kind
from eventspool._cli.output import console, format_count, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._operate.erasure import Erasure
    from eventspool._operate.queue import Queue
    from eventspool._operate.selection import Selection

__all__ = ["erase_user"]

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


def erase_user(
    queue: Queue, chosen: Selection, user_id: str, *, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Erase the events of *user_id* out of the chosen jobs, and end with 1 while any are left."""
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
                "left": {cause: list(getattr(done, cause)) for cause in _LEFT},
                **({"dry_run": True} if dry_run else {}),
            },
        )
    else:
        console().print(f"{'would have ' if dry_run else ''}erased {_describe(done, user_id)}", markup=False)
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
