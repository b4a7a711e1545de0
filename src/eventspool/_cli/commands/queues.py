"""``eventspool queues``: all queues of a server, the worst first."""

from __future__ import annotations

import time
from contextlib import closing

import click

from eventspool._cli.answer import print_json, print_json_line
from eventspool._cli.commands.queue.opened import interval_option
from eventspool._cli.kinds import Kind
from eventspool._cli.options import json_option
from eventspool._cli.output import console, format_clock
from eventspool._cli.signals import Stop
from eventspool._cli.survey_view import as_dict, line, open_survey, picture, survey_options

__all__ = ["command"]

_BETWEEN = 1.0
"""Seconds between two looks at queues that have no history yet, of which one look tells no rate."""


@click.command(
    short_help="List all queues of a server, the worst first: troubles, sizes, how soon they are full."
)
@survey_options
@click.option("--watch", "-w", is_flag=True, help="Go on until Ctrl-C; with --json, one line each time.")
@interval_option("Time between two looks, with --watch.")
@json_option
def command(
    urls: tuple[str, ...],
    names: tuple[str, ...],
    prefixes: tuple[str, ...],
    interval: float,
    *,
    watch: bool,
    as_json: bool,
) -> None:
    """
    List all queues that were ever used on a server, of any name and prefix, the worst first.

    A URL is that of a server, a cluster, sentinels or a file; without one EVENTSPOOL_QUEUE counts. Each queue is shown with
    what is wrong, what it takes of the server's memory, the share of its bounds (EVENTSPOOL_MAX_JOBS, EVENTSPOOL_MAX_BYTES)
    that is used up, and how soon it is full if it goes on to grow as in the last quarter of an hour. Queues of Bull are named,
    too. Exits with 1 where a server cannot be asked.

    \b
    Examples:
      eventspool queues redis://localhost:6379/0
      eventspool queues redis://cache-1:6379/0 redis://cache-2:6379/0 --json
      eventspool queues sqlite:///events.db --prefix shop
    """
    stop = Stop()
    with closing(open_survey(urls, names, prefixes)) as survey:
        standings = survey.look()
        if not watch and any(
            each.pace.into is None for each in standings if not each.problem and not each.is_bull
        ):
            time.sleep(_BETWEEN)
            standings = survey.look()
        if not watch:
            rooms = survey.rooms(standings)
            if as_json:
                print_json(Kind.QUEUES, as_dict(standings, rooms))
            else:
                console().print(picture(standings, rooms, console().width))
            for outage in survey.outages:
                raise outage
            return
        with stop.listening():
            while True:
                if as_json:
                    print_json_line(Kind.QUEUES, as_dict(standings, survey.rooms(standings)))
                else:
                    print(f"{format_clock(time.time())}  {line(standings)}", flush=True)  # noqa: T201 - data
                if stop.wait(interval):
                    return
                standings = survey.look()
