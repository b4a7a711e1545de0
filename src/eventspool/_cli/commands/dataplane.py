"""``eventspool dataplane``: a data plane on this machine, to develop and test against."""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TYPE_CHECKING

import click
from rich.live import Live
from rich.text import Text

from eventspool._cli.answer import print_json
from eventspool._cli.kinds import Kind
from eventspool._cli.options import json_option
from eventspool._cli.output import (
    console,
    err_console,
    format_age,
    format_bytes,
    format_count,
    key_value_table,
    on_terminal,
)
from eventspool._cli.signals import Stop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventspool._dataplane import DataPlane, Stats

__all__ = ["command"]


@click.command(short_help="Run a local data plane to develop and test against.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port", "-p", type=click.IntRange(0, 65535), default=8123, show_default=True, help="0 takes a free one."
)
@click.option(
    "--write-key",
    "-k",
    metavar="KEY",
    envvar="EVENTSPOOL_WRITE_KEY",
    default="dev",
    show_default=True,
    help="The write key that it accepts.",
)
@click.option(
    "--fault",
    "-f",
    "faults",
    metavar="RULE",
    multiple=True,
    help="A fault, such as 'status=503,p=0.2'; may be repeated.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Seed of the random numbers that faults with a probability draw.",
)
@click.option(
    "--partial-failures", is_flag=True, help="Answer 200 and name the invalid events, instead of 400."
)
@json_option
def command(
    host: str,
    port: int,
    write_key: str,
    faults: tuple[str, ...],
    seed: int,
    *,
    partial_failures: bool,
    as_json: bool,
) -> None:
    """
    Run a local data plane: a real HTTP server that counts what arrives and fails on demand.

    Ctrl-C ends it and prints the counts (--json: as JSON). While it runs, GET /__stats, /__events and /__ids show what
    came, and POST /__faults changes the faults.

    \b
    Faults (the first rule that matches decides):
      status=503,p=0.2                     one request in five
      status=429,retry_after=2,next=3      the next three
      latency=0.1..2                       slow answers
      drop=after,record,every=10           taken, but the connection breaks before the answer
      outage,from=5,to=15                  nothing listens from second 5 to 15
      reject=events,event=Poison           these events are refused by name

    \b
    Example:
      eventspool dataplane --fault 'status=503,p=0.2' --fault 'drop=after,record,p=0.05'
    """
    from eventspool._dataplane import DataPlane

    plane = DataPlane(
        write_key, host=host, port=port, faults=faults, seed=seed, partial_failures=partial_failures
    )
    try:
        plane.start()
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {host}:{port} ({error.strerror}); try another --port, or 0 for a free one"
        ) from None
    number = _serve(plane, as_json=as_json)
    stats = plane.stats()
    if as_json:
        print_json(Kind.DATAPLANE, stats.as_dict())
    else:
        _show(stats)
    sys.exit(130 if number == signal.SIGINT else 0)


def _serve(plane: DataPlane, *, as_json: bool) -> int:
    """Serve until a signal comes; return its number."""
    stop = Stop()
    with stop.listening():
        try:
            _introduce(plane, as_json=as_json)
            with _live() as live:
                while not stop.wait(0.25):
                    if live is not None:
                        live.update(_line(plane.stats()))
        finally:
            plane.stop()
    return stop.signal


def _introduce(plane: DataPlane, *, as_json: bool) -> None:
    out = err_console() if as_json else console()
    out.print(f"[bold]{plane.url}[/]  write key [bold]{plane.write_key}[/]\n")
    out.print(
        f'[dim]import eventspool\n\nclient = eventspool.Client("{plane.write_key}", data_plane_url="{plane.url}")\n'
        'client.track("user-1", "Signed Up")\nclient.flush()[/]\n'
    )
    out.file.flush()


@contextlib.contextmanager
def _live() -> Iterator[Live | None]:
    if not on_terminal():
        yield None
        return
    with Live(
        console=err_console(),
        refresh_per_second=4,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as live:
        yield live


def _line(stats: Stats) -> Text:
    return Text(
        f"{format_count(stats.requests, 'request')}, {format_count(stats.events, 'event')} "
        f"({stats.unique:,} unique). Ctrl-C ends it."
    )


def _show(stats: Stats) -> None:
    facts = key_value_table()
    facts.add_row("requests", f"{stats.requests:,}")
    for status, count in sorted(stats.statuses.items()):
        facts.add_row(f"  {'no answer' if status == 'none' else status}", f"{count:,}")
    facts.add_row("events", f"{stats.events:,}")
    facts.add_row("unique", f"{stats.unique:,}")
    facts.add_row("duplicates", f"{stats.duplicates:,}")
    facts.add_row("changed", f"{stats.changed:,}")
    if stats.rejected:
        facts.add_row("rejected", f"{stats.rejected:,}")
    for rule, count in stats.faults.items():
        facts.add_row(f"fault {rule}", f"{count:,}")
    facts.add_row(
        "received", f"{format_bytes(stats.body_bytes)} ({format_bytes(stats.inflated_bytes)} inflated)"
    )
    facts.add_row("up for", format_age(stats.uptime))
    console().print(facts)
