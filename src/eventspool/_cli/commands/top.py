"""``eventspool top``: all queues of a server, live."""

from __future__ import annotations

import contextlib
import select
import sys
import time
from typing import TYPE_CHECKING

import click
from rich.console import Group
from rich.text import Text

from eventspool._cli.answer import print_json
from eventspool._cli.commands.queue.opened import interval_option
from eventspool._cli.kinds import Kind
from eventspool._cli.options import json_option
from eventspool._cli.output import console, format_clock
from eventspool._cli.signals import Stop
from eventspool._cli.survey_view import as_dict, line, open_survey, picture, survey_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from eventspool._operate.survey import Survey

__all__ = ["command"]

_SLICE = 0.1
"""Seconds after which a key or a signal is noticed at the latest."""


@click.command(short_help="Watch all queues of a server, live: troubles, rates, lag, failed events, workers.")
@survey_options
@click.option("--once", is_flag=True, help="Look once, and end; so it is where there is no terminal.")
@interval_option("Time between two looks.")
@json_option
def command(
    urls: tuple[str, ...],
    names: tuple[str, ...],
    prefixes: tuple[str, ...],
    interval: float,
    *,
    once: bool,
    as_json: bool,
) -> None:
    """
    Watch all queues of one or several servers, the worst first, until q or Ctrl-C.

    It shows the columns of `eventspool queues`, looks again each second, and finds new queues by itself. Without a terminal it
    prints one look; --json prints it for programs.

    \b
    Examples:
      eventspool top redis://localhost:6379/0
      eventspool top redis://cache-1:6379/0 redis://cache-2:6379/0 --interval 5
    """
    out = console()
    with contextlib.closing(open_survey(urls, names, prefixes)) as survey:
        if once or as_json or not out.is_terminal or out.is_dumb_terminal:
            survey.look()
            time.sleep(interval)  # one look tells no rate
            standings = survey.look()
            rooms = survey.rooms(standings)
            if as_json:
                print_json(Kind.QUEUES, as_dict(standings, rooms))
            else:
                out.print(picture(standings, rooms, out.width))
            for outage in survey.outages:
                raise outage
            return
        _watch(survey, interval)


def _watch(survey: Survey, interval: float) -> None:
    from rich.live import Live

    stop = Stop()
    with (
        stop.listening(),
        _keys() as pressed,
        Live(console=console(), auto_refresh=False, screen=True) as live,
    ):
        while True:
            live.update(_screen(survey), refresh=True)
            until = time.monotonic() + interval
            while time.monotonic() < until:
                if pressed(_SLICE) in ("q", "Q", "\x1b") or stop.asked:
                    return


def _screen(survey: Survey) -> RenderableType:
    standings = survey.look()
    head = Text.assemble((format_clock(time.time()), "bold"), f"  {line(standings)}  ", ("q ends it", "dim"))
    return Group(head, Text(), picture(standings, survey.rooms(standings), console().width, survey.outages))


class _Keys:
    """Reads the keys of a terminal. Where the input is none, no key is ever pressed."""

    def __init__(self, stop_waiting: bool) -> None:  # noqa: FBT001
        self._is_none = stop_waiting

    def __call__(self, seconds: float) -> str:
        """Wait for a key for *seconds* at most, and return it; "" where none came."""
        if self._is_none:
            time.sleep(seconds)
            return ""
        with contextlib.suppress(InterruptedError, ValueError, OSError):
            ready, _, _ = select.select([sys.stdin], [], [], seconds)
            return sys.stdin.read(1) if ready else ""
        return ""


@contextlib.contextmanager
def _keys() -> Iterator[_Keys]:
    """Have each key of the terminal come at once while this lasts."""
    if not sys.stdin.isatty():
        yield _Keys(True)
        return
    try:
        import termios
        import tty
    except ImportError:  # not on Windows; Ctrl-C works there
        yield _Keys(True)
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield _Keys(False)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
