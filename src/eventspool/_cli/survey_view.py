"""How ``eventspool queues`` and ``eventspool top`` show all queues of some servers, and the options that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Group
from rich.text import Text

from eventspool._cli.options import QueueAddress, encryption_key
from eventspool._cli.output import format_age, format_bytes, format_count, printable, table
from eventspool._config.variables import variable_of
from eventspool._operate.standing import pending_events, stored
from eventspool._operate.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from eventspool._exceptions import QueueError
    from eventspool._operate.standing import Standing
    from eventspool._operate.survey import ServerRoom

__all__ = ["as_dict", "line", "open_survey", "picture", "survey_options"]

_F = TypeVar("_F", bound="Callable[..., Any]")
_COLOURS = {"error": "bold red", "warning": "yellow"}
_MEDIUM, _WIDE = 100, 140
"""Columns of a terminal from which more columns of the table are shown."""


def survey_options(function: _F) -> _F:
    """Add the servers' URLs, as *urls*, and ``--queue-name`` and ``--prefix``, which narrow what is shown."""
    for add in (
        click.option(
            "--prefix", "prefixes", multiple=True, help="Only queues with this prefix; may be repeated."
        ),
        click.option(
            "--queue-name", "names", multiple=True, help="Only queues of this name; may be repeated."
        ),
        click.argument("urls", metavar="URL...", nargs=-1, required=True, envvar=variable_of("persistence")),
    ):
        function = add(function)
    return function


def open_survey(urls: Sequence[str], names: Sequence[str], prefixes: Sequence[str]) -> Survey:
    """Return a survey of the servers at *urls*. Raises ``ConfigError`` for one that is wrong."""
    key = encryption_key()
    servers = [QueueAddress(url, "all", "all").opts(encryption_key=key) for url in dict.fromkeys(urls)]
    return Survey(servers, names=names, prefixes=prefixes)


def as_dict(standings: Sequence[Standing], rooms: Sequence[ServerRoom]) -> dict[str, Any]:
    """Return what was seen, for JSON."""
    return {
        "queues": [each.as_dict() for each in standings if each.queue_name],
        "servers": [
            {
                "server": each.server,
                "store": each.room.store,
                "used_bytes": each.room.used,
                "limit_bytes": each.room.limit or None,
                "full_in": each.full_in,
            }
            for each in rooms
        ],
        "unreachable": [
            {"server": each.server, "problem": each.problem} for each in standings if not each.queue_name
        ],
    }


def line(standings: Sequence[Standing]) -> str:
    """Return one line, for output that does not move."""
    bad = sum(each.level != "ok" for each in standings)
    events = sum(pending_events(each.stats) for each in standings)
    worst = (
        f"; worst: {printable(standings[0].queue_name or standings[0].server)}, {standings[0].state}"
        if bad
        else ""
    )
    return f"{format_count(len(standings), 'queue')}, {bad} with trouble; {format_count(events, 'event')} waiting{worst}"


def picture(
    standings: Sequence[Standing],
    rooms: Sequence[ServerRoom],
    width: int,
    outages: Sequence[QueueError] = (),
) -> RenderableType:
    """Return the table of the queues, the worst first, the servers below, and why some of them cannot be asked."""
    if not standings:
        return Text("No queue was ever used there.", style="dim")
    parts: list[RenderableType] = [_queues(standings, width)]
    parts += [Text()] * bool(rooms)
    parts += [_room(each) for each in rooms]
    problems = dict.fromkeys(
        [*map(str, outages), *(each.problem for each in standings if each.problem and each.queue_name)]
    )
    parts += [Text(printable(each), style="red") for each in problems]
    return Group(*parts)


def _queues(standings: Sequence[Standing], width: int) -> RenderableType:
    several = len({each.server for each in standings}) > 1
    medium, wide = width >= _MEDIUM, width >= _WIDE
    columns = {
        "queue": True,
        "state": True,
        "events": True,
        "failed": True,
        "oldest": medium,
        "in/s": medium,
        "out/s": medium,
        "lag p95": wide,
        "workers": wide,
        "memory": medium,
        "full": True,
        "full in": medium,
    }
    names = [name for name, is_shown in columns.items() if is_shown]
    shown = table(*names, right=tuple(names[2:]))
    for each in standings:
        cells = _cells(each, several=several)
        shown.add_row(*(cells[name] for name in names))
    return shown


def _cells(each: Standing, *, several: bool) -> dict[str, Text | str]:
    known = not each.problem and not each.is_bull
    jobs, size = stored(each.stats)
    where = "" if each.prefix in ("", "hightouch") else f"{each.prefix}:"
    name = f"{where}{each.queue_name}" if each.queue_name else f"all of {each.server}"
    memory = each.memory_bytes if each.memory_bytes is not None else size
    depth = f"{pending_events(each.stats):,}" if known else "-"
    return {
        "queue": Text(
            printable(f"{name} @ {each.server}" if several and each.queue_name else name),
            style="dim" if each.is_bull else "",
        ),
        "state": Text(
            printable(each.state), style="dim" if each.is_bull else _COLOURS.get(each.level, "green")
        ),
        "events": f"{jobs - each.stats.failed.jobs:,} jobs" if each.is_bull else depth,
        "failed": Text(_failed(each), style="red" if each.stats.failed.jobs else ""),
        "oldest": format_age(each.stats.oldest_age) if known and each.stats.oldest_age else "-",
        "in/s": _rate(each.pace.into),
        "out/s": _rate(each.pace.out),
        "lag p95": "-" if each.lag[1] is None else format_age(each.lag[1]),
        "workers": f"{each.stats.processors:,}" if known else "-",
        "memory": format_bytes(memory) if known else "-",
        "full": "-" if each.fill is None else f"{each.fill:.0%}",
        "full in": _soon(each.full_in),
    }


def _failed(each: Standing) -> str:
    if each.problem:
        return "-"
    return f"{each.stats.failed.jobs:,} jobs" if each.is_bull else f"{each.stats.failed.events:,}"


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:,.0f}" if rate >= 10 or rate == 0 else f"{rate:.1f}"


def _soon(seconds: float | None) -> Text:
    """Say when it is full; what is more than a month away is nothing to tell."""
    if seconds is None or seconds > 31 * 86_400:
        return Text("-")
    return Text(
        format_age(seconds), style="bold red" if seconds < 3600 else "yellow" if seconds < 86_400 else ""
    )


def _room(each: ServerRoom) -> Text:
    room = each.room
    of = (
        f" of {format_bytes(room.limit)} ({room.used / room.limit:.0%})"
        if room.limit
        else ", without a limit"
    )
    soon = f", full in {format_age(each.full_in)}" if each.full_in and each.full_in < 31 * 86_400 else ""
    return Text(printable(f"{each.server}: {format_bytes(room.used)}{of}{soon}"), style="dim")
