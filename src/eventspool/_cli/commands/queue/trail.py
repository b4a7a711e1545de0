"""``queue trail``: who did what to the queue, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.text import Text

from eventspool._cli.answer import json_of, print_json
from eventspool._cli.commands.queue.opened import opened
from eventspool._cli.kinds import Kind
from eventspool._cli.options import json_option, queue_options
from eventspool._cli.output import console, format_moment, printable, say, table
from eventspool._operate.figures import format_count
from eventspool._operate.trail import tell_selection

if TYPE_CHECKING:
    from eventspool._cli.options import QueueAddress
    from eventspool._operate.trail import Action

__all__ = ["trail"]


@click.command()
@queue_options(required=True)
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    metavar="N",
    help="At most so many actions, the last ones.",
)
@click.option("--before", type=click.IntRange(1), metavar="POSITION", help="Go on behind this action.")
@click.option("--full", is_flag=True, help="Show of each edit the event before and after it.")
@json_option
def trail(address: QueueAddress, limit: int, before: int | None, *, full: bool, as_json: bool) -> None:
    """
    Show who did what to the queue, and when: the last actions first.

    Commands, the dashboard and programs write there; the queue remembers the last 1,000 actions. A person is named by
    EVENTSPOOL_ACTOR, else by the user of the system and the machine, or by the name of the dashboard's token.

    \b
    Example:
      eventspool queue trail --limit 20
    """
    with opened(address) as queue:
        actions = queue.trail(limit, before)
    if as_json:
        print_json(Kind.ACTION, json_of(actions))
        return
    if not actions:
        say("Nobody did anything to this queue yet that its trail would have.")
        return
    shown = table("when", "who", "what", "why")
    for action in actions:
        shown.add_row(
            format_moment(action.at),
            Text(printable(action.actor or "-")),
            Text(printable(_tell(action))),
            Text(printable(action.note or "-")),
        )
    if not full:
        console().print(shown)
    for action in actions if full else ():
        console().print(
            Text(printable(f"{format_moment(action.at)}  {action.actor}  {_tell(action)}"), style="bold")
        )
        for name in ("note", "before", "after"):
            if text := getattr(action, name):
                console().print(Text(f"  {name}  {printable(text)}"))
    if len(actions) == limit:
        say(f"\nThere may be more: --before {actions[-1].position}")


def _tell(action: Action) -> str:
    """Return what was done, in one line."""
    counts = [
        format_count(count, word)
        for count, word in ((action.jobs, "job"), (action.events, "event"))
        if count is not None
    ]
    return " ".join(filter(None, [action.action, ", ".join(counts), tell_selection(action.selection)]))
