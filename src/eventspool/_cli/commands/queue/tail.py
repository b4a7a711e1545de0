"""``queue tail``: follow what comes into a state."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.text import Text

from eventspool._cli.commands.queue.opened import PAGE, STATES, opened
from eventspool._cli.options import json_option, queue_options
from eventspool._cli.output import console, format_bytes, format_count, json_line, printable, say_error
from eventspool._cli.signals import Stop
from eventspool._exceptions import QueueError, QueueUnavailable

if TYPE_CHECKING:
    from eventspool._job import Job
    from eventspool._queue import Queue

__all__ = ["tail"]


@click.command()
@queue_options(required=True)
@click.option("--state", type=click.Choice(STATES), default="failed", show_default=True, help="Which jobs.")
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="How many of those there already.",
)
@click.option("--events", "with_events", is_flag=True, help="Show the events of each job, too.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks. What comes and goes in between is not seen.",
)
@json_option
def tail(
    queue_url: str,
    queue_name: str,
    prefix: str,
    state: str,
    lines: int,
    interval: float,
    *,
    with_events: bool,
    as_json: bool,
) -> None:
    """
    Follow what fails (or waits), until Ctrl-C. With --json, one line a job.

    \b
    Examples:
      eventspool queue tail
      eventspool queue tail --events --json | jq .reason
    """
    stop = Stop()
    with opened(queue_url, queue_name, prefix) as queue, stop.listening():
        follower = _Follower(queue, state)
        shown = deque(follower.news(), maxlen=lines)
        while True:
            with contextlib.suppress(BrokenPipeError):
                for job in shown:
                    _show(queue, job, with_events=with_events, as_json=as_json)
            if stop.wait(interval):
                sys.exit(0)
            try:
                shown = deque(follower.news())
            except QueueUnavailable as error:
                say_error(f"{error}; looking again")
                shown = deque()


class _Follower:
    """Reads a state's list on from where it was."""

    def __init__(self, queue: Queue, state: str) -> None:
        self._queue = queue
        self._state = state
        self._last: str | None = None
        self._seen: set[str] = set()

    def news(self) -> list[Job]:
        """Return what has come since the last time."""
        found: list[Job] = []
        here: set[str] = set()
        after = self._last
        while page := self._queue.jobs(self._state, PAGE, after):
            # Where the last one has gone meanwhile, the list goes on earlier: some come again.
            found += [job for job in page if job.id not in self._seen]
            here.update(job.id for job in page)
            after = self._last = page[-1].id
            if len(page) < PAGE:
                break
        self._seen |= here
        return found


def _show(queue: Queue, job: Job, *, with_events: bool, as_json: bool) -> None:
    events = None
    if with_events:
        with contextlib.suppress(QueueError):  # it has gone meanwhile, or cannot be read
            events = queue.events(job.id)
    if as_json:
        line = {**asdict(job), "payload": events} if with_events else asdict(job)
        print(json_line(line), flush=True)  # noqa: T201 - data, one line each
        return
    moment = time.strftime("%H:%M:%S", time.localtime(job.created_at))
    why = f"{job.reason}: {job.error}" if job.reason else f"attempts {job.attempts}"
    size = f"{format_count(job.events, 'event')}, {format_bytes(job.bytes)}"
    out = console()
    out.print(
        Text.assemble((f"{moment}  {printable(job.id)}", "bold"), f"  {size}  {printable(why)}"),
        soft_wrap=True,
    )
    for event in events or ():
        out.print(Text(f"  {json_line(event)}"), soft_wrap=True)
    out.file.flush()
