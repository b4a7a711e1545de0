"""``queue status``: show the state of a queue, once or live."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group
from rich.text import Text

from eventspool._cli.answer import json_of, print_json, print_json_line
from eventspool._cli.commands.queue.opened import STATES, Unused, interval_option, opened
from eventspool._cli.kinds import Kind
from eventspool._cli.options import json_option, queue_options
from eventspool._cli.output import (
    console,
    format_age,
    format_bytes,
    format_clock,
    format_moment,
    key_value_table,
    moment_text,
    printable,
    table,
)
from eventspool._cli.signals import Stop
from eventspool._exceptions import QueueUnavailable
from eventspool._operate.diagnosis import Severity, diagnose, observe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from eventspool._cli.options import QueueAddress
    from eventspool._figures import Partition, QueueStats
    from eventspool._fleet import ProcessorInfo
    from eventspool._job import Job
    from eventspool._operate.diagnosis import Trouble
    from eventspool._operate.queue import Queue
    from eventspool._operate.trail import Pause

__all__ = ["Rates", "sparkline", "status"]

_BARS = "▁▂▃▄▅▆▇█"
_HISTORY = 40
_SCHEDULE = 200
"""Delayed jobs that are read for the retry schedule: those that are due next."""
_TOLD_ELSEWHERE = ("queue.failed", "queue.unreadable", "queue.age")
"""What the table of depths and the age of the oldest job say already."""
_WITHIN = ((10.0, "10 s"), (60.0, "1 min"), (600.0, "10 min"), (3600.0, "1 h"))


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at a queue."""

    at: float
    stats: QueueStats
    processors: Sequence[ProcessorInfo]
    delayed: Sequence[Job]
    partitions: Sequence[Partition] = ()
    troubles: Sequence[Trouble] = ()
    pause: Pause | None = None

    def as_dict(self) -> dict[str, Any]:
        processors = json_of(self.processors)
        due = [job.next_attempt_at for job in self.delayed if job.next_attempt_at]
        return {
            **json_of(self.stats),
            "workers": processors,
            "next_retry_at": moment_text(min(due, default=None)),
            "partitions": json_of(self.partitions),
            "state": _state(self)[0],
            "troubles": [each.as_dict() for each in self.troubles],
            "pause": None if self.pause is None else json_of(self.pause),
        }


def _look(queue: Queue, name: str) -> _Look:
    seen = observe(queue, name)
    delayed = queue.jobs("delayed", _SCHEDULE) if seen.stats.delayed.jobs else []
    pause = queue.why_paused() if seen.stats.paused else None
    return _Look(time.time(), seen.stats, seen.processors, delayed, seen.partitions, diagnose(seen), pause)


class Rates:
    """Turns totals, which only grow, into events per second."""

    def __init__(self) -> None:
        self._last: tuple[float, int, int, int] | None = None
        self.accepted: deque[float] = deque(maxlen=_HISTORY)
        self.delivered: deque[float] = deque(maxlen=_HISTORY)
        self.failed: deque[float] = deque(maxlen=_HISTORY)

    def add(self, at: float, stats: QueueStats) -> None:
        """Take the totals of the moment *at*, in seconds."""
        now = (at, stats.accepted_events, stats.delivered_events, stats.failed_events)
        last, self._last = self._last, now
        if last is None or at <= last[0]:
            return
        # A total that fell means another queue: this one was emptied, or moved to another server.
        rates = [max(new - old, 0) / (at - last[0]) for new, old in zip(now[1:], last[1:], strict=True)]
        for history, rate in zip((self.accepted, self.delivered, self.failed), rates, strict=True):
            history.append(rate)


def sparkline(values: Sequence[float]) -> str:
    """Return *values* as bars, the largest one full; 0 is the lowest bar."""
    most = max(values, default=0.0)
    if most <= 0:
        return _BARS[0] * len(values)
    return "".join(_BARS[min(round(value / most * (len(_BARS) - 1)), len(_BARS) - 1)] for value in values)


@click.command()
@queue_options(required=True)
@click.option("--watch", "-w", is_flag=True, help="Go on until Ctrl-C; with --json, one line each time.")
@interval_option("Time between two looks.")
@json_option
def status(address: QueueAddress, interval: float, *, watch: bool, as_json: bool) -> None:
    """
    Count jobs, events and bytes by state; show the workers, and how fast they are.

    No event is read, so this is as quick for a million jobs as for one.

    \b
    Examples:
      eventspool queue status --queue redis://localhost:6379/0
      eventspool queue status --watch
    """
    with opened(address, Unused.IGNORE) as queue:
        if watch:
            sys.exit(_watch(queue, address, interval, as_json=as_json))
        look = _look(queue, address.queue_name)
    if as_json:
        print_json(Kind.STATUS, _told(look, address))
    else:
        console().print(_picture(look, address.queue_name, None))


def _told(look: _Look, address: QueueAddress) -> dict[str, Any]:
    return {"queue_name": address.queue_name, "prefix": address.prefix, **look.as_dict()}


def _watch(queue: Queue, address: QueueAddress, interval: float, *, as_json: bool) -> int:
    from rich.live import Live

    stop, rates = Stop(), Rates()
    out = console()
    moving = out.is_terminal and not out.is_dumb_terminal and not as_json
    with contextlib.ExitStack() as stack:
        stack.enter_context(stop.listening())
        live = stack.enter_context(Live(console=out, auto_refresh=False, screen=False)) if moving else None
        while True:
            shown: RenderableType
            try:
                look = _look(queue, address.queue_name)
                rates.add(look.at, look.stats)
                shown = _picture(look, address.queue_name, rates)
            except QueueUnavailable as error:
                if not moving:
                    raise
                shown = Text(f"{error}; looking again", style="red")
            if live is not None:
                live.update(shown, refresh=True)
            elif as_json:
                print_json_line(Kind.STATUS, _told(look, address))
            else:
                print(_line(look, rates), flush=True)  # noqa: T201
            if stop.wait(interval):
                return 0


def _line(look: _Look, rates: Rates) -> str:
    stats = look.stats
    counts = ", ".join(f"{getattr(stats, state).events:,} {state}" for state in STATES)
    speed = f"{_latest(rates.accepted)} in, {_latest(rates.delivered)} out"
    moment = format_moment(look.at)
    return f"{moment}  {_state(look)[0]}: events {counts}; oldest {format_age(stats.oldest_age)}; {speed}"


def _picture(look: _Look, queue_name: str, rates: Rates | None) -> RenderableType:
    parts: list[RenderableType] = [_depths(look.stats), Text(), _facts(look, queue_name, rates)]
    if look.partitions:
        parts += [Text(), _partitions(look)]
    if look.processors:
        parts += [Text(), _workers(look)]
    if told := [each for each in look.troubles if each.code not in _TOLD_ELSEWHERE]:
        parts += [Text(), _troubles(told)]
    return Group(*parts)


def _depths(stats: QueueStats) -> Table:
    shown = table("state", "jobs", "events", "size", right=("jobs", "events", "size"))
    for state in STATES:
        depth = getattr(stats, state)
        shown.add_row(
            state,
            f"{depth.jobs:,}",
            f"{depth.events:,}",
            format_bytes(depth.bytes),
            style="red" if state == "failed" and depth.jobs else None,
        )
    return shown


def _state(look: _Look) -> tuple[str, str]:
    """Return a few words for the state of the queue, and their colour."""
    stats = look.stats
    away = sum(each.away for each in look.partitions)
    if away:
        return f"{away} of {len(look.partitions)} partitions away", "bold red"
    worst = next((each for each in look.troubles if each.severity is not Severity.NOTE), None)
    if worst is not None and worst.code.startswith("plane."):
        until = f"; held until {format_clock(stats.held_until)}" if stats.held_until else ""
        return f"{worst.label}, probing{until}", "bold red"
    if worst is not None and worst.severity is Severity.ERROR:
        return worst.label, "bold red"
    unfinished = stats.waiting.jobs + stats.delayed.jobs + stats.leased.jobs
    if stats.paused:
        return "paused", "yellow"
    if not look.processors:
        state, colour = ("no worker delivers", "bold red") if unfinished else ("idle, no worker", "dim")
    else:
        state, colour = ("delivering", "green") if unfinished else ("idle", "green")
    if worst is None or worst.code in _TOLD_ELSEWHERE:
        return state, colour
    return (worst.label if worst.code == "queue.missing" else f"{state}; {worst.label}"), "yellow"


def _troubles(troubles: Sequence[Trouble]) -> RenderableType:
    lines = []
    for each in troubles:
        style = {"error": "bold red", "warning": "yellow"}.get(each.severity.value, "dim")
        lines.append(
            Text.assemble(
                (f"{each.severity.value}: ", style), printable(each.cause), (f"  [{each.code}]", "dim")
            )
        )
        lines.append(Text(f"  {printable(each.remedy)}"))
    return Group(*lines)


def _facts(look: _Look, queue_name: str, rates: Rates | None) -> Table:
    stats = look.stats
    facts = key_value_table()
    facts.add_row("queue", queue_name)
    facts.add_row("state", Text(*_state(look)))
    if look.pause is not None:
        why = f", {look.pause.reason!r}" if look.pause.reason else ""
        since = format_age(max(look.at - look.pause.since, 0.0))
        facts.add_row("paused", Text(printable(f"by {look.pause.actor}, {since} ago{why}")))
    facts.add_row("oldest job", format_age(stats.oldest_age) if stats.oldest_age else "-")
    facts.add_row("processors", f"{stats.processors:,}")
    if stats.most_bytes:
        moved = "each of its partitions" if look.partitions else "it"
        facts.add_row(
            "full at",
            f"{format_bytes(stats.most_bytes)}, so that its cluster can move {moved} to another node",
        )
    if look.delayed:
        facts.add_row("retries", _schedule(look))
    if rates is not None:
        for name, history, colour in (
            ("accepted", rates.accepted, "cyan"),
            ("delivered", rates.delivered, "green"),
            ("failing", rates.failed, "red"),
        ):
            if name != "failing" or any(history):
                bars = sparkline(history).rjust(_HISTORY)
                facts.add_row(name, Text.assemble((bars, colour), f"  {_latest(history)}"))
    totals = f"{stats.accepted_events:,} accepted, {stats.delivered_events:,} delivered, {stats.failed_events:,} failed"
    totals += f", {stats.purged_events:,} purged" if stats.purged_events else ""
    totals += f", {stats.moved_events:,} moved" if stats.moved_events else ""
    facts.add_row("ever", totals)
    return facts


def _latest(history: Sequence[float]) -> str:
    return f"{history[-1]:,.0f} events/s" if history else "- events/s"


def _schedule(look: _Look) -> str:
    """Say when the delayed jobs come due; where there are more than were read, the next ones."""
    waits = sorted(max((job.next_attempt_at or look.at) - look.at, 0.0) for job in look.delayed)
    parts = [f"next in {format_age(waits[0])}"]
    for seconds, name in _WITHIN:
        count = sum(wait <= seconds for wait in waits)
        if count:
            more = "+" if count == len(waits) < look.stats.delayed.jobs else ""
            parts.append(f"{count:,}{more} within {name}")
        if count == len(waits):
            break
    return ", ".join(parts)


def _partitions(look: _Look) -> Table:
    numbers = ("jobs", "events", "size", "failed")
    shown = table("partition", *numbers, "state", "node", right=numbers)
    for each in look.partitions:
        depth = each.unfinished
        figures = (f"{depth.jobs:,}", f"{depth.events:,}", format_bytes(depth.bytes), f"{each.failed.jobs:,}")
        old = "draining" if depth.jobs else "drained"
        state = "away" if each.away else old if each.sealed else "open"
        shown.add_row(
            f"{each.generation}.{each.number}",
            *(("-",) * len(figures) if each.away else figures),
            Text(state, style="bold red" if each.away else "yellow" if each.sealed else ""),
            Text(printable(each.node or "-")),
        )
    return shown


def _workers(look: _Look) -> Table:
    numbers = ("in flight", "sent", "p50", "p99")
    shown = table("worker", *numbers, "answers", "last trouble", right=numbers)
    for each in look.processors:
        answers = ", ".join(f"{name} {count:,}x" for name, count in sorted(each.statuses.items()))
        shown.add_row(
            Text(printable(f"{each.host}:{each.pid}" if each.host else each.token)),
            f"{each.in_flight:,}",
            f"{each.sent:,}",
            _seconds(each.latency_p50),
            _seconds(each.latency_p99),
            Text(printable(answers or "-")),
            Text(printable(each.last_error or "-"), style="red" if each.paused else ""),
        )
    return shown


def _seconds(latency: float | None) -> str:
    return "-" if latency is None else f"{latency * 1000:,.0f} ms" if latency < 10 else format_age(latency)
