"""``eventspool demo``: real purchases, bad weather, a process killed again and again, and the account of it."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import NoReturn

import click

from eventspool._cli.answer import print_json
from eventspool._cli.demo_view import LiveNarrator, PlainNarrator, QuietNarrator, show_result
from eventspool._cli.kinds import Kind
from eventspool._cli.options import json_option
from eventspool._cli.output import err_console, on_terminal
from eventspool._cli.signals import handling

__all__ = ["command"]


@click.command(short_help="See events survive kills and outages, on real purchases.")
@click.option(
    "--queue",
    "-q",
    "queue_url",
    metavar="URL",
    help="Use this Redis (or SQLite file). The demo's queue has its own name and is removed at the end.",
)
@click.option("--redis", is_flag=True, help="Start a private, real Redis-protocol server for the queue.")
@click.option(
    "--kills",
    type=click.IntRange(0, 50),
    default=5,
    show_default=True,
    help="How often the process is killed.",
)
@click.option("--sample", is_flag=True, help="Use the 1-in-10 sample even where the whole file is there.")
@click.option(
    "--seed",
    type=int,
    default=1997,
    show_default=True,
    help="Seed of the random numbers for the faults and the moments of the kills.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep the queue's file, the process's log and the result in this folder.",
)
@json_option
def command(
    queue_url: str | None,
    kills: int,
    seed: int,
    keep: Path | None,
    *,
    redis: bool,
    sample: bool,
    as_json: bool,
) -> None:
    """
    See events survive: no account, no server, no network needed.

    A process tracks what customers of a CD shop really bought in 1997 and 1998, one event per purchase, and delivers
    the events to a local data plane, which fails in every way it can. The process is killed (SIGKILL) again and again
    and started anew. At the end every purchase must have arrived, unchanged.

    The exit status is 0 only if nothing was lost, nothing was changed and every planned kill took place.

    \b
    Examples:
      eventspool demo
      eventspool demo --redis --kills 20
      eventspool demo --queue redis://localhost:6379/0 --json
    """
    from eventspool._demo import DemoOptions, run_demo

    if queue_url and redis:
        raise click.UsageError("give either --queue or --redis")
    options = DemoOptions(queue=queue_url, redis=redis, kills=kills, sample=sample, seed=seed, folder=keep)
    narrator = QuietNarrator() if as_json else PlainNarrator(err_console())
    if on_terminal():
        narrator = LiveNarrator(err_console())
    with handling(_interrupt, signal.SIGTERM, signal.SIGHUP), narrator:
        result = run_demo(options, narrator)
    if keep is not None:
        (keep / "result.json").write_text(json.dumps(result.as_dict(), indent=2) + "\n", "utf-8")
    if as_json:
        print_json(Kind.DEMO, result.as_dict())
    else:
        show_result(result)
    sys.exit(0 if result.ok else 1)


def _interrupt(number: int, frame: object) -> NoReturn:  # noqa: ARG001
    """Clean up after SIGTERM and a closed terminal as after Ctrl-C."""
    raise KeyboardInterrupt
