"""``queue tail``: follow the jobs that come into a state."""

from __future__ import annotations

import contextlib
import select
import sys
from collections import deque
from itertools import chain
from typing import TYPE_CHECKING

import click
from rich.text import Text

from eventspool._cli.answer import json_of, print_json_line
from eventspool._cli.commands.queue.opened import interval_option, opened, state_option
from eventspool._cli.kinds import Kind
from eventspool._cli.options import json_option, queue_options
from eventspool._cli.output import (
    console,
    format_bytes,
    format_count,
    format_moment,
    json_line,
    printable,
    say_error,
)
from eventspool._cli.signals import Stop
from eventspool._exceptions import QueueError, QueueUnavailable
from eventspool._job import JobState
from eventspool._operate.selection import PAGE, walk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eventspool._cli.options import QueueAddress
    from eventspool._job import Job
    from eventspool._operate.queue import Queue

__all__ = ["tail"]


@click.command()
@queue_options(required=True)
@state_option()
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="How many of the jobs that are there already to show first.",
)
@click.option("--events", "with_events", is_flag=True, help="Show the events of each job, too.")
@interval_option("Time between two looks. A job that comes and goes in between is not seen.")
@json_option
def tail(
    address: QueueAddress,
    state: str,
    lines: int,
    interval: float,
    *,
    with_events: bool,
    as_json: bool,
) -> None:
    """
    Follow the jobs that fail (or wait), until Ctrl-C. With --json, one line a job.

    \b
    Examples:
      eventspool queue tail
      eventspool queue tail --events --json | jq .reason
    """
    stop = Stop()
    with opened(address) as queue, stop.listening():
        follower = _Follower(queue, state)
        shown = deque(follower.news(), maxlen=lines)
        while True:
            for job in shown:
                _show(queue, job, with_events=with_events, as_json=as_json)
            if stop.wait(interval):
                sys.exit(0)
            if _is_given_up():
                raise BrokenPipeError
            try:
                shown = deque(follower.news())
            except QueueUnavailable as error:
                say_error(f"{error}; looking again")
                shown = deque()


def _is_given_up() -> bool:
    """Whether the program that read our output is gone: without news to write, we would not notice it."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # Windows has no poll; no file, no pipe
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(happened & select.POLLERR for _, happened in poll.poll(0))
    return False


class _Follower:
    """
    Reads a state's list on from where it was.

    A job that was retried is news when it fails again, so it is known by its id, its attempts and the moment when it failed.
    """

    def __init__(self, queue: Queue, state: str) -> None:
        self._queue = queue
        self._state = JobState(state)
        self._seen: set[tuple[object, ...]] = set()
        self._most_seen = 0
        self._last: list[Job] = []

    def news(self) -> list[Job]:
        """Return the jobs that have come since the last call."""
        if len(self._last) == 2 and len(self._seen) <= self._most_seen:
            before, last = self._last
            pages = walk(self._queue, self._state, after=before.id)
            page = next(pages)
            if page and _key(page[0]) == _key(last):  # neither has moved, so new jobs stand behind them
                found, here, end = self._read(chain([page], pages))
                self._seen |= here
                self._last = [before, *end][-2:]
                return found
        # Read from the start, and forget the jobs that have left the list: at the latest when they may be half of those known.
        found, self._seen, self._last = self._read(walk(self._queue, self._state))
        self._most_seen = 2 * len(self._seen) + PAGE
        return found

    def _read(self, pages: Iterable[list[Job]]) -> tuple[list[Job], set[tuple[object, ...]], list[Job]]:
        """Return the new jobs in *pages*, the keys of all jobs in there, and the last two jobs."""
        found: list[Job] = []
        here: set[tuple[object, ...]] = set()
        end: list[Job] = []
        for page in pages:
            found += [job for job in page if _key(job) not in self._seen]
            here.update(map(_key, page))
            end = [*end, *page][-2:]
        return found, here, end


def _key(job: Job) -> tuple[object, ...]:
    return job.id, job.attempts, job.failed_at


def _show(queue: Queue, job: Job, *, with_events: bool, as_json: bool) -> None:
    events = None
    if with_events:
        with contextlib.suppress(QueueError):  # the job has gone meanwhile, or cannot be read
            events = queue.events(job.id)
    if as_json:
        print_json_line(Kind.JOB, {**json_of(job), **({"payload": events} if with_events else {})})
        return
    moment = format_moment(job.failed_at or job.created_at)
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
