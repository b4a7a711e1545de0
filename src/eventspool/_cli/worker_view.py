"""How a worker shows its state to people, to probes and to systemd."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.text import Text

from eventspool._cli.health import notify_service_manager
from eventspool._cli.output import err_console, format_count, on_terminal
from eventspool._operate.diagnosis import KINDS, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import Console

    from eventspool._cli.health import Health
    from eventspool._cli.logs import Log
    from eventspool._operate.diagnosis import Trouble

__all__ = ["Status", "Watch", "shown"]

_TOLD_EVERY = 60.0
"""Seconds between two lines about a trouble that lasts."""
_NOT_LOGGED = ("queue.failed", "queue.unreadable", "queue.paused")
"""What a worker logs when it comes about, or what an operator has done."""
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
        troubles: What is wrong, as every tool says it.
    """

    batches: int = 0
    waiting: int = 0
    leased: int = 0
    failed: int = 0
    paused: bool = False
    queue_paused: bool = False
    reachable: bool = True
    troubles: tuple[Trouble, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing is left to deliver, as far as every partition can be asked."""
        is_whole = self.reachable and not any(each.code == "queue.partitions" for each in self.troubles)
        return is_whole and not self.waiting and not self.leased

    @property
    def worst(self) -> Trouble | None:
        """The gravest trouble with which events are not stored or not delivered."""
        return next((each for each in self.troubles if each.severity is Severity.ERROR), None)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures, and the troubles by their codes."""
        figures = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**figures, "troubles": [each.code for each in self.troubles]}

    def __str__(self) -> str:
        if not self.reachable:
            state = "queue not reachable"
        elif self.queue_paused:
            state = "paused"
        elif self.paused:
            state = "only probing"
        elif (worst := self.worst) is not None:
            state = worst.label
        else:
            state = "idle" if self.is_empty else "delivering"
        counts = f"{self.waiting:,} waiting, {self.leased:,} under way, {self.failed:,} failed"
        return f"{state}: {format_count(self.batches, 'batch', 'batches')} delivered, events: {counts}"


class Watch:
    """Passes the result of each look at the worker on to people, probes and systemd."""

    def __init__(self, health: Health, show: Callable[[Status], None], log: Log) -> None:
        self._health = health
        self._show = show
        self._log = log
        self._told: dict[str, float] = {}
        self._is_announced = False

    def see(self, status: Status) -> None:
        """Pass *status* on."""
        self._show(status)
        self._health.note(status.troubles)
        self._tell(status.troubles)
        if not self._health.not_live():
            notify_service_manager("WATCHDOG=1" if self._is_announced else "READY=1")
            self._is_announced = True

    def _tell(self, troubles: Iterable[Trouble]) -> None:
        """Log what is wrong when it begins, once more each minute that it lasts, and when it is over."""
        now = time.monotonic()
        lasting = {each.code: each for each in troubles if each.code not in _NOT_LOGGED}
        for code, each in lasting.items():
            if now - self._told.get(code, float("-inf")) >= _TOLD_EVERY:
                self._told[code] = now
                self._log.tell_of(each)
        for code in self._told.keys() - lasting.keys():
            del self._told[code]
            self._log.say(f"over: {KINDS[code].label} [{code}]", code=code)


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
                log.say(text, **status.as_dict())
            else:
                target.print(text)

    yield show, target
