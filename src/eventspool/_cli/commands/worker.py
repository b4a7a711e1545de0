"""``eventspool worker``: deliver a queue until told to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import click
from rich.live import Live
from rich.text import Text

from eventspool._cli.options import (
    data_plane_options,
    encryption_key,
    json_option,
    queue_options,
    spill_option,
)
from eventspool._cli.output import err_console, format_count, on_terminal, print_json, say, show_warnings
from eventspool._client import Client
from eventspool._config import JobOpts, QueueOpts
from eventspool._exceptions import QueueError
from eventspool._queue import open_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from eventspool._job import QueueStats

__all__ = ["command"]

_LOOK_EVERY = 0.5
_ONCE_LOOK_EVERY = 0.1
_LINE_EVERY = 30.0
_GIVE_BACK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Status:
    """
    One line about a worker.

    Args:
        batches: Batches that it delivered.
        waiting: Events that wait, the delayed ones included.
        leased: Events under way, here or elsewhere.
        failed: Events in the failed queue.
        paused: Only probes are sent.
        reachable: The queue answers.
    """

    batches: int = 0
    waiting: int = 0
    leased: int = 0
    failed: int = 0
    paused: bool = False
    reachable: bool = True

    @property
    def is_empty(self) -> bool:
        """Nothing is left to deliver."""
        return self.reachable and not self.waiting and not self.leased

    def __str__(self) -> str:
        state = "queue not reachable" if not self.reachable else "paused" if self.paused else "delivering"
        if state == "delivering" and self.is_empty:
            state = "idle"
        counts = f"{self.waiting:,} waiting, {self.leased:,} under way, {self.failed:,} failed"
        return f"{state}: {format_count(self.batches, 'batch', 'batches')} delivered, events: {counts}"


class _Stop:
    """
    Signals, as the worker sees them: the first asks it to stop, the second makes it.

    Not an Event: its ``set()`` needs the lock that ``wait()`` holds now and then, also when the signal interrupts it.
    """

    def __init__(self) -> None:
        self.asked = False
        self.at_once = False
        self.signal = 0
        self._came: SimpleQueue[None] = SimpleQueue()

    def wait(self, seconds: float) -> bool:
        """Block until the first signal (True) or for so many *seconds* (False)."""
        if not self.asked:
            with contextlib.suppress(Empty):
                self._came.get(timeout=seconds)
        return self.asked

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:  # noqa: ARG002
        self.at_once = self.asked
        self.signal = number
        self.asked = True
        self._came.put(None)


@click.command()
@data_plane_options(key_required=True)
@queue_options(required=True)
@spill_option
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    help="Requests under way at once.  [default: 8; 1 with --single]",
)
@click.option(
    "--multi/--single",
    default=False,
    help="Share the queue with other processes, or keep strict order.  [default: single]",
)
@click.option(
    "--max-attempts",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Failed attempts after which a batch is given up.",
)
@click.option(
    "--retry-for",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="... and the age that it must have reached besides.",
)
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="Time for requests under way when told to stop.",
)
@click.option("--once", is_flag=True, help="Stop when the queue is empty.")
@json_option
def command(
    write_key: str,
    data_plane_url: str,
    queue_url: str,
    queue_name: str,
    prefix: str,
    spill: str | None,
    concurrency: int | None,
    max_attempts: int,
    retry_for: float,
    grace: float,
    *,
    multi: bool,
    once: bool,
    as_json: bool,
) -> None:
    """
    Deliver a queue until SIGTERM or Ctrl-C.

    The first signal lets requests under way finish (--grace); a second one stops at once. What is not delivered stays
    in the queue. Several workers on one queue: give all of them --multi.

    The exit status is 0 after SIGTERM, 130 after Ctrl-C; with --once 0 when the queue is empty and nothing new failed.

    \b
    Examples:
      eventspool worker --queue redis://localhost:6379/0 --multi
      eventspool worker --queue sqlite:///events.db --once --json
    """
    jobs = JobOpts(max_attempts=max_attempts, retry_for=retry_for, concurrency=concurrency)
    queue = QueueOpts(
        url=queue_url,
        queue_name=queue_name,
        prefix=prefix,
        is_multi_processor=multi,
        job_opts=jobs,
        encryption_key=encryption_key(),
    )
    client = Client(write_key, data_plane_url=data_plane_url, spill=spill)
    failed_before = _count_failed(queue)
    stop = _Stop()
    with _shown(quiet=as_json) as (show, target), show_warnings(target), stop.listening():
        try:
            client.create_persistence_queue(queue)
        except QueueError as error:
            say(f"{error}; trying again until it works")
        status = _work(client, stop, show, once=once)
        closed = _close(client, stop, 0.5 if once and not stop.asked else grace)
        status = _look(client, status, queue) if closed else status
    if as_json:
        print_json(asdict(status))
    else:
        say(str(status))
    sys.stdout.flush()
    if not closed:
        os._exit(128 + stop.signal)
    if stop.signal == signal.SIGINT:
        sys.exit(130)
    sys.exit(1 if once and not stop.asked and status.failed > failed_before else 0)


def _count(queue: QueueOpts) -> QueueStats:
    """Ask the queue on a connection of our own."""
    with open_queue(queue.url or "", queue.queue_name, queue.prefix) as found:
        return found.stats()


def _count_failed(queue: QueueOpts) -> int:
    """Count the failed events that are there before this worker adds any."""
    with contextlib.suppress(QueueError):
        return _count(queue).failed.events
    return 0


def _work(client: Client, stop: _Stop, show: Callable[[_Status], None], *, once: bool) -> _Status:
    status = _Status()
    while not stop.wait(_ONCE_LOOK_EVERY if once else _LOOK_EVERY):
        status = _look(client, status)
        show(status)
        if once and status.is_empty and not client._pipe().is_spilling:  # noqa: SLF001
            break
    return status


def _look(client: Client, last: _Status | None = None, closed: QueueOpts | None = None) -> _Status:
    """Ask the client and the queue how things stand. A *closed* client's own connection is going down."""
    own = client.stats()
    batches, paused = own.sent, own.paused
    try:
        stats = _count(closed) if closed else client.queue.stats()
    except QueueError:
        last = last or _Status()
        return _Status(batches, last.waiting, last.leased, last.failed, paused, reachable=False)
    waiting = stats.waiting.events + stats.delayed.events
    return _Status(batches, waiting, stats.leased.events, stats.failed.events, paused)


def _close(client: Client, stop: _Stop, grace: float) -> bool:
    """Stop within *grace* seconds, or at once at a second signal. Return whether it was in good order."""
    if stop.asked:
        say(f"stopping; requests under way have {grace:g} seconds (a second signal stops at once)")
    closer = threading.Thread(target=client.close, args=(grace,), daemon=True)
    closer.start()
    deadline = time.monotonic() + grace + 5.0
    while closer.is_alive() and time.monotonic() < deadline:
        closer.join(0.05)
        if stop.at_once:
            break
    if closer.is_alive():
        processor = client._pipe().processor  # noqa: SLF001
        if processor is not None:
            giver = threading.Thread(target=processor.give_back, daemon=True)
            giver.start()
            giver.join(_GIVE_BACK_SECONDS)
        return False
    return True


@contextlib.contextmanager
def _shown(*, quiet: bool) -> Iterator[tuple[Callable[[_Status], None], Console]]:
    """Yield what shows a status: one live line on a terminal, a line now and then elsewhere."""
    target = err_console()
    if on_terminal():
        with Live(
            console=target, refresh_per_second=4, transient=True, redirect_stdout=False, redirect_stderr=False
        ) as live:
            yield lambda status: live.update(Text(str(status))), live.console
        return
    told, again_at = "", 0.0

    def show(status: _Status) -> None:
        nonlocal told, again_at
        now, text = time.monotonic(), str(status)
        if not quiet and text != told and now >= again_at:
            told, again_at = text, now + _LINE_EVERY
            target.print(text)

    yield show, target
