"""``eventspool doctor``: what is wrong with a set-up, and what to do about it."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.text import Text

from eventspool._cli.answer import json_of, print_json
from eventspool._cli.kinds import Kind
from eventspool._cli.options import data_plane_options, encryption_key, json_option, queue_options
from eventspool._cli.output import console, format_count, printable, say
from eventspool._config import ClientOpts
from eventspool._config.variables import variable_of

if TYPE_CHECKING:
    from eventspool._cli.options import DataPlaneAddress, QueueAddress
    from eventspool._doctor import Examination

__all__ = ["command"]

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
_NO_KEY = "no-write-key"


@click.command(short_help="Find what is wrong with a set-up.")
@data_plane_options(key_required=False)
@queue_options(required=False)
@click.option("--no-data-plane", is_flag=True, help="Do not check the data plane.")
@click.option(
    "--max-jobs",
    type=click.IntRange(1),
    envvar=variable_of("max_jobs"),
    default=1_000_000,
    show_default=True,
    show_envvar=True,
    help="How many jobs the producers let the queue hold.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(1),
    envvar=variable_of("max_bytes"),
    default=1 << 30,
    show_default=True,
    show_envvar=True,
    help="How many bytes the producers let it hold.",
)
@click.option(
    "--max-age",
    type=click.FloatRange(0, min_open=True),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How old a job may get before that is a finding.",
)
@click.option(
    "--interval",
    type=click.FloatRange(0, 60),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks at the queue, which tell whether failures grow.",
)
@click.option(
    "--replicas",
    type=click.IntRange(min=0),
    default=0,
    envvar=variable_of("replicas"),
    show_envvar=True,
    metavar="N",
    help="How many replicas must confirm an event, where applications use durability='replicated'.",
)
@json_option
def command(
    data_plane: DataPlaneAddress,
    address: QueueAddress | None,
    max_jobs: int,
    max_bytes: int,
    max_age: float,
    interval: float,
    replicas: int,
    *,
    no_data_plane: bool,
    as_json: bool,
) -> None:
    """
    Check the environment, Redis or the SQLite file, the data plane and its key, and the queue's health.

    Harmless anywhere, any time: no event is stored or sent. The data plane gets one batch without events; permissions in
    Redis are tried in a transaction that is never run.

    The exit status is 0 when all is well, 1 when you should act, 2 for wrong usage.

    \b
    Examples:
      eventspool doctor --queue redis://localhost:6379/0
      eventspool doctor --queue sqlite:///events.db --no-data-plane --json
    """
    from eventspool._doctor import examine

    if no_data_plane and address is None:
        raise click.UsageError("nothing is left to check: give --queue")
    queue = None
    if address is not None:
        queue = address.opts(max_jobs=max_jobs, max_bytes=max_bytes, encryption_key=None)
    plane = None
    if not no_data_plane:
        plane = ClientOpts(**{**asdict(data_plane), "write_key": data_plane.write_key or _NO_KEY})
    found = examine(
        queue,
        plane,
        has_key=bool(data_plane.write_key),
        interval=interval,
        max_age=max_age,
        encryption_key=encryption_key(),
        environ=os.environ,
        replicas=replicas,
    )
    if as_json:
        print_json(
            Kind.DOCTOR,
            {
                "healthy": found.is_healthy,
                "findings": json_of(found.findings),
                "queue": json_of(found.stats) if found.stats else None,
                "elapsed": round(found.elapsed, 3),
            },
        )
    else:
        _show(found)
    sys.exit(0 if found.is_healthy else 1)


def _show(found: Examination) -> None:
    out = console()
    for finding in found.findings:
        style = _STYLES[finding.severity.value]
        out.print(
            Text.assemble(
                (f"{finding.severity.value}: ", style),
                printable(finding.what),
                (f"  [{finding.check}]", "dim"),
            )
        )
        out.print(Text(f"  {printable(finding.action)}\n"))
    if found.is_healthy:
        out.print(f"[green]All is well.[/] Checked in {found.elapsed:.1f} s.")
    else:
        urgent = sum(finding.severity.value == "error" for finding in found.findings)
        act = sum(finding.severity.value != "note" for finding in found.findings)
        say(f"{format_count(act, 'finding')}, {urgent} of them urgent.")
