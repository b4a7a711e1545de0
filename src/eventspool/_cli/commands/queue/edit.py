"""``queue edit``: mend one event of a failed job, and send it again under the same ``messageId``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eventspool._cli.answer import print_json
from eventspool._cli.commands.queue.opened import Unused, opened
from eventspool._cli.kinds import Kind
from eventspool._cli.options import json_option, queue_options
from eventspool._cli.output import console, printable, say, say_error
from eventspool._exceptions import ConfigError, QueueError
from eventspool._operate.edit import editable_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._cli.options import QueueAddress
    from eventspool._operate.queue import Queue

__all__ = ["edit"]


@click.command()
@click.argument("job_id", metavar="JOB")
@queue_options(required=True)
@click.option("--index", type=click.IntRange(1), metavar="N", help="The event that `queue show` numbers so.")
@click.option("--message-id", metavar="ID", help="The event with this messageId.")
@click.option(
    "--from",
    "source",
    metavar="FILE",
    help="Take the event from FILE (- is the standard input), and open no editor.",
)
@json_option
def edit(
    address: QueueAddress,
    job_id: str,
    index: int | None,
    message_id: str | None,
    source: str | None,
    *,
    as_json: bool,
) -> None:
    """
    Mend one event of a failed JOB, and send it again.

    The event opens in $EDITOR as JSON. When it is saved, it takes the place of the one that failed, keeps its messageId, and
    the job goes back into the queue. The job's other events stay as they are. `eventspool queue trail --full` shows the event
    before and after.

    \b
    Examples:
      eventspool queue edit 0190c5d0a1f23b4c5d6e7f809a1b
      eventspool queue edit 0190c5d0a1f23b4c5d6e7f809a1b --index 2 --from mended.json
    """
    if index is not None and message_id is not None:
        raise click.UsageError("--index and --message-id both say which event it is: give one of them")
    text = None if source is None else _read(source)
    with opened(address, Unused.FAIL) as queue:
        events = queue.events(job_id, is_exact=True)
        place = _choose(events, index, message_id, is_given=text is not None)
        if text is not None:
            queue.edit(job_id, text, index=place)
        elif place is None or not _edit(queue, job_id, place, events[place]):
            say("nothing was changed")
            if as_json:
                print_json(Kind.EDIT, {"edited": 0, "job": job_id})
            return
    if as_json:
        print_json(Kind.EDIT, {"edited": 1, "job": job_id})
    else:
        console().print(
            f"edited 1 event of the job {printable(job_id)}, which is back in the queue", markup=False
        )


def _read(source: str) -> str:
    try:
        return sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(
            f"{source} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None


def _choose(
    events: Sequence[dict[str, Any]], index: int | None, message_id: str | None, *, is_given: bool
) -> int | None:
    """Return the place of the event; ``None`` where its ``messageId`` will tell."""
    if index is not None:
        if index > len(events):
            raise click.UsageError(f"the job has no event {index}: it holds {len(events)}")
        return index - 1
    if message_id is not None:
        places = [place for place, event in enumerate(events) if event.get("messageId") == message_id]
        if len(places) != 1:
            raise click.UsageError(
                f"{len(places)} events of the job have the messageId {message_id!r}: give --index"
            )
        return places[0]
    if len(events) == 1:
        return 0
    if is_given:
        return None
    raise click.UsageError(
        f"the job holds {len(events)} events: say which one with --index or --message-id; `eventspool queue show` lists them"
    )


def _edit(queue: Queue, job_id: str, place: int, event: dict[str, Any]) -> bool:
    """Open the event in the editor until it can go out so. False where the operator gives up, or has changed nothing."""
    before = text = editable_text(event, indent=2) + "\n"
    while True:
        edited = click.edit(text, extension=".json", require_save=True)
        if edited is None or edited.strip() in ("", before.strip()):
            return False
        try:
            queue.edit(job_id, edited, index=place)
        except ConfigError as error:
            say_error(str(error))
            if not click.confirm("Edit it once more?", default=True, err=True):
                raise QueueError("not edited; the event is as it was") from None
            text = edited
        else:
            return True
