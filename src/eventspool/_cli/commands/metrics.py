"""``eventspool metrics``: queues for Prometheus, whether workers run or not."""

from __future__ import annotations

import contextlib
import signal
import sys

import click

from eventspool._cli.exporting import Exporter, read_names
from eventspool._cli.health import DEFAULT_HOST, METRICS_PATH, notify_service_manager, serve_health
from eventspool._cli.options import QueueAddress, encryption_key, queue_name_option, queue_prefix_option
from eventspool._cli.output import say, say_error
from eventspool._cli.signals import Stop
from eventspool._config.stores import list_urls
from eventspool._config.variables import variable_of

__all__ = ["command"]

_WATCHDOG = 15.0


@click.command(short_help="Export queues to Prometheus, whether workers run or not.")
@click.option(
    "--queue",
    "-q",
    "queues",
    metavar="[LABEL=]URL[#NAME]",
    envvar=variable_of("persistence"),
    required=True,
    multiple=True,
    show_envvar=True,
    help=f"A queue: {list_urls()}; may be repeated (in the environment: with spaces between). After # comes its name, where "
    "it is not --queue-name; LABEL is what its metrics call it instead of its name.",
)
@queue_name_option
@queue_prefix_option
@click.option(
    "--host",
    envvar="EVENTSPOOL_METRICS_HOST",
    default=DEFAULT_HOST,
    show_default=True,
    show_envvar=True,
    help="Where to listen; 0.0.0.0 for a Prometheus on another machine. It has no password, and shows no event.",
)
@click.option(
    "--port",
    "-p",
    type=click.IntRange(0, 65535),
    envvar="EVENTSPOOL_METRICS_PORT",
    default=8182,
    show_default=True,
    show_envvar=True,
    help="0 takes a free one.",
)
@click.option(
    "--max-jobs",
    type=click.IntRange(1),
    envvar=variable_of("max_jobs"),
    show_envvar=True,
    help="The bound that the producers have, for metrics and alerts.  [default: theirs]",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(1),
    envvar=variable_of("max_bytes"),
    show_envvar=True,
    help="The same, of the payload bytes.  [default: theirs]",
)
@click.option("--once", is_flag=True, help="Print the metrics, and end: 1 when a queue could not be read.")
def command(
    queues: tuple[str, ...],
    queue_name: str,
    prefix: str,
    host: str,
    port: int,
    max_jobs: int | None,
    max_bytes: int | None,
    *,
    once: bool,
) -> None:
    """
    Answer GET /metrics in Prometheus' text format, until Ctrl-C. Each queue is read when it is asked for, and no event is.

    Workers answer the same on their --health-port, but only while they run. This tells of a queue that no worker delivers.
    GET /livez and /readyz answer 200; a queue that is away is told as eventspool_queue_up 0.

    \b
    Examples:
      eventspool metrics --queue redis://localhost:6379/0
      eventspool metrics -q redis://cache:6379/0#orders -q redis://cache:6379/0#mails -q eu=redis://eu-cache:6379/0
      eventspool metrics --queue sqlite:///events.db --once
    """
    bounds = {name: value for name, value in (("max_jobs", max_jobs), ("max_bytes", max_bytes)) if value}
    opts = {
        each.label: QueueAddress(each.url, each.queue_name, prefix).opts(
            encryption_key=encryption_key(), **bounds
        )
        for each in read_names(queues, queue_name)
    }
    stop = Stop()
    with contextlib.closing(Exporter(opts, _say_nothing if once else say)) as exporter:
        if once:
            click.echo(exporter.read(), nl=False)
            for trouble in exporter.troubles:
                say_error(f"cannot read {trouble}")
            sys.exit(1 if exporter.troubles else 0)
        with stop.listening(), serve_health(exporter, host, port, exporter.read, option="--port") as taken:
            shown = f"[{host}]" if ":" in host else host
            say(f"http://{shown}:{taken}{METRICS_PATH}  Ctrl-C ends it.")
            notify_service_manager("READY=1")
            while not stop.wait(_WATCHDOG):
                notify_service_manager("WATCHDOG=1")
    sys.exit(130 if stop.signal == signal.SIGINT else 0)


def _say_nothing(text: str) -> None:
    """Say nothing: what is told at the end would be told twice."""
