"""How a worker shows its state to people, to probes and to systemd."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text

from eventspool._cli.health import notify_service_manager
from eventspool._cli.output import err_console, format_count, on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from eventspool._cli.health import Health
    from eventspool._cli.logs import Log

__all__ = ["Status", "Watch", "shown"]

_LINE_EVERY = 30.0
"""Seconds between two lines where no terminal shows a live one."""


@dataclass(frozen=True, slots=True)
class Status:
    """
    One line about a worker.

    Args:
        batches: Batches that it delivered.
        waiting: Events that wait, the delayed ones included.
        leased: Events under way, in this worker or in another.
        failed: Events in the failed queue.
        paused: The data plane is down or refuses the write key; only probes are sent.
        queue_paused: An operator has paused the queue: nothing is handed out.
        reachable: The queue answers.
    """

    batches: int = 0
    waiting: int = 0
    leased: int = 0
    failed: int = 0
    paused: bool = False
    queue_paused: bool = False
    reachable: bool = True

    @property
    def is_empty(self) -> bool:
        """Nothing is left to deliver."""
        return self.reachable and not self.waiting and not self.leased

    def __str__(self) -> str:
        if not self.reachable:
            state = "queue not reachable"
        elif self.queue_paused:
            state = "paused"
        elif self.paused:
            state = "only probing"
        else:
            state = "idle" if self.is_empty else "delivering"
        counts = f"{self.waiting:,} waiting, {self.leased:,} under way, {self.failed:,} failed"
        return f"{state}: {format_count(self.batches, 'batch', 'batches')} delivered, events: {counts}"


class Watch:
    """Passes the result of each look at the worker on to people, probes and systemd."""

    def __init__(self, health: Health, show: Callable[[Status], None]) -> None:
        self._health = health
        self._show = show
        self._is_announced = False

    def see(self, status: Status) -> None:
        """Pass *status* on."""
        self._show(status)
        obstacle = ""
        if not status.reachable:
            obstacle = "the queue is not reachable"
        elif status.paused:
            obstacle = "the data plane is down or refuses the write key; only probes are sent"
        self._health.note(obstacle)
        if not self._health.not_live():
            notify_service_manager("WATCHDOG=1" if self._is_announced else "READY=1")
            self._is_announced = True


@contextlib.contextmanager
def shown(log: Log, *, quiet: bool) -> Iterator[tuple[Callable[[Status], None], Console]]:
    """
    Yield a function that shows a status, and the console on which it does.

    On a terminal that is one live line; elsewhere it is a line now and then.
    """
    target = err_console()
    if on_terminal() and not log.is_json:
        with Live(
            console=target, refresh_per_second=4, transient=True, redirect_stdout=False, redirect_stderr=False
        ) as live:
            yield lambda status: live.update(Text(str(status))), live.console
        return
    told, again_at = "", 0.0

    def show(status: Status) -> None:
        nonlocal told, again_at
        now, text = time.monotonic(), str(status)
        if (log.is_json or not quiet) and text != told and now >= again_at:
            told, again_at = text, now + _LINE_EVERY
            if log.is_json:
                log.say(text, **asdict(status))
            else:
                target.print(text)

    yield show, target
