"""``eventspool worker``: deliver a queue until a signal tells it to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from eventspool._backends.condition import Condition
from eventspool._cli.answer import print_json
from eventspool._cli.health import DEFAULT_HOST, Health, notify_service_manager, serve_health
from eventspool._cli.kept_order import keep_order
from eventspool._cli.kinds import Kind
from eventspool._cli.logs import LOG_FORMATS, Log
from eventspool._cli.options import (
    DELIVERS,
    data_plane_options,
    encryption_key,
    gathered,
    json_option,
    queue_options,
    sharing_options,
    spill_option,
)
from eventspool._cli.output import say
from eventspool._cli.signals import Stop
from eventspool._cli.worker_view import Status, Watch, shown
from eventspool._client import Client
from eventspool._config import JobOpts
from eventspool._config.variables import variable_of
from eventspool._exceptions import QueueError, QueueUnavailable
from eventspool._fleet import ProcessorInfo
from eventspool._operate.diagnosis import Observation, diagnose
from eventspool._operate.exposition import metrics_text
from eventspool._operate.metrics import QueueReader
from eventspool._operate.overview import count_jobs
from eventspool._operate.queue import open_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eventspool._cli.options import DataPlaneAddress, QueueAddress
    from eventspool._figures import Partition, QueueStats
    from eventspool._operate.diagnosis import Trouble

__all__ = ["command"]

_F = TypeVar("_F", bound="Callable[..., Any]")
_LOOK_EVERY = 0.5
_ONCE_LOOK_EVERY = 0.1
_GIVE_BACK_SECONDS = 1.0
"""How long a worker that is told to stop at once takes to give its leases back, so that others need not wait for their end."""


def _job_options(function: _F) -> _F:
    """Add the options of ``JobOpts``, with its defaults, and pass them on as *jobs*."""
    defaults = JobOpts()

    def option(name: str, kind: Any, about: str, metavar: str | None = None) -> Callable[[_F], _F]:
        default = getattr(defaults, name)
        return click.option(
            f"--{name.replace('_', '-')}",
            type=kind,
            envvar=variable_of(name),
            default=default,
            show_default=default is not None,
            show_envvar=True,
            metavar=metavar,
            help=about,
        )

    def seconds(name: str, kind: Any, about: str) -> Callable[[_F], _F]:
        return option(name, kind, about, "SECONDS")

    positive = click.FloatRange(0, min_open=True)
    return gathered(
        lambda **given: {"jobs": JobOpts(**given)},
        option(
            "concurrency",
            click.IntRange(1, 256),
            "Most requests under way at once.  [default: 8; 1 with --single]",
        ),
        option(
            "max_events_per_second",
            click.FloatRange(0.01),
            "Most events that all workers of the queue send in a second.",
        ),
        option("max_attempts", click.IntRange(1), "Failed attempts after which a batch is given up."),
        seconds("retry_for", click.FloatRange(0), "A batch is not given up before it has reached this age."),
        seconds(
            "backoff_initial", positive, "Longest wait before the first retry; it doubles with every attempt."
        ),
        seconds("backoff_max", positive, "Longest wait before any retry."),
        seconds(
            "visibility_timeout",
            click.FloatRange(0.05),
            "How long a batch is kept from other workers after its own was last heard of.",
        ),
    )(function)


@click.command()
@data_plane_options(key_required=True)
@queue_options(required=True)
@spill_option
@sharing_options()
@_job_options
@click.option(
    "--grace",
    type=click.FloatRange(0),
    envvar="EVENTSPOOL_GRACE",
    default=20.0,
    show_default=True,
    show_envvar=True,
    metavar="SECONDS",
    help="How long requests under way may take to finish when the worker is told to stop.",
)
@click.option("--once", is_flag=True, help="Stop when the queue is empty.")
@click.option(
    "--health-port",
    type=click.IntRange(1, 65535),
    envvar="EVENTSPOOL_HEALTH_PORT",
    show_envvar=True,
    help="Answer GET /livez and /readyz on this port, which `eventspool health` asks, and /metrics for Prometheus.",
)
@click.option(
    "--health-host",
    envvar="EVENTSPOOL_HEALTH_HOST",
    default=DEFAULT_HOST,
    show_default=True,
    show_envvar=True,
    help="The address to answer on; 0.0.0.0 for probes from outside a container.",
)
@click.option(
    "--log-format",
    type=click.Choice(LOG_FORMATS),
    envvar="EVENTSPOOL_LOG_FORMAT",
    default="text",
    show_default=True,
    show_envvar=True,
    help="The form of what is written to the standard error.",
)
@json_option
def command(
    data_plane: DataPlaneAddress,
    address: QueueAddress,
    spill: str | None,
    jobs: JobOpts,
    grace: float,
    health_port: int | None,
    health_host: str,
    log_format: str,
    *,
    sharing: Mapping[str, Any],
    once: bool,
    as_json: bool,
) -> None:
    """
    Deliver a queue until SIGTERM or Ctrl-C.

    The first signal lets requests under way finish (--grace); a second one stops at once. What is not delivered stays
    in the queue. Several workers on one queue: give all of them --multi. Of a queue that is divided into partitions a worker
    without --multi, --single and --ordering keeps the order that the queue keeps.

    The exit status is 0 after SIGTERM, 130 after Ctrl-C; with --once 0 when the queue is empty and nothing new failed.

    \b
    Examples:
      eventspool worker --queue redis://localhost:6379/0 --multi
      eventspool worker --queue sqlite:///events.db --once --json
      eventspool worker --multi --health-port 8181 --log-format json
    """
    queue, told = keep_order(address.opts(**sharing, job_opts=jobs, encryption_key=encryption_key()), sharing)
    client = Client(**asdict(data_plane), **DELIVERS, spill=spill)
    failed_before = _count_failed(address)
    stop, health, log = Stop(), Health(), Log(log_format)
    reader = QueueReader(address.queue_name, lambda: client.queue, queue)

    def read_metrics() -> str:
        return metrics_text({"worker": client}, [reader])

    with (
        shown(log, quiet=as_json) as (show, target),
        log.listening(target),
        stop.listening(),
        serve_health(health, health_host, health_port, read_metrics),
    ):
        if told:
            log.say(told)
        try:
            client.create_persistence_queue(queue)
        except QueueError as error:
            log.say(f"{error}; trying again until it works")
        try:
            status = _work(client, stop, Watch(health, show, log), once=once)
        except click.UsageError:
            _close(client, stop, 0.0, log)
            raise
        health.stop()
        notify_service_manager("STOPPING=1")
        closed = _close(client, stop, 0.5 if once and not stop.asked else grace, log)
        status = _look(client, status, address) if closed else status
        if log.is_json:
            log.say(str(status), **status.as_dict())
    if as_json:
        print_json(Kind.WORKER, status.as_dict())
    elif not log.is_json:
        say(str(status))
    _exit(stop, closed=closed, failed=once and status.failed > failed_before)


def _exit(stop: Stop, *, closed: bool, failed: bool) -> NoReturn:
    sys.stdout.flush()
    if not closed:  # a thread that does not end would keep the interpreter from exiting
        os._exit(128 + stop.signal if stop.asked else 1)
    if stop.signal == signal.SIGINT:
        sys.exit(130)
    sys.exit(1 if failed and not stop.asked else 0)


def _count(address: QueueAddress) -> tuple[QueueStats, Sequence[Partition]]:
    """Ask the queue on a connection of our own. The partitions are named where one of them is away."""
    with open_queue(**asdict(address)) as found:
        return count_jobs(found)


def _count_failed(address: QueueAddress) -> int:
    """Count the failed events that are there before this worker adds any."""
    with contextlib.suppress(QueueError):
        return _count(address)[0].failed.events
    return 0


def _work(client: Client, stop: Stop, watch: Watch, *, once: bool) -> Status:
    status = Status()
    while not stop.wait(_ONCE_LOOK_EVERY if once else _LOOK_EVERY):
        status = _look(client, status)
        watch.see(status)
        if once and status.is_empty and not client._pipe().is_spilling:  # noqa: SLF001
            break
    return status


def _look(client: Client, last: Status | None = None, closed: QueueAddress | None = None) -> Status:
    """Ask the client and the queue how things stand. Once the client is closed, *closed* says which queue to ask."""
    own = client.stats()
    try:
        stats, partitions = _count(closed) if closed else count_jobs(client.queue)
    except QueueError as error:
        queue = client._beginning.queue_opts  # noqa: SLF001
        if queue is not None and not isinstance(error, QueueUnavailable):
            # The queue could not be asked at the start, or was divided since then.
            keep_order(queue, {"ordering": queue.ordering})
        troubles = diagnose(Observation(problem=str(error)))
        last = last or Status()
        return replace(last, batches=own.sent, paused=own.paused, reachable=False, troubles=troubles)
    waiting = stats.waiting.events + stats.delayed.events
    figures = (own.sent, waiting, stats.leased.events, stats.failed.events, own.paused, stats.paused)
    if closed:
        return Status(*figures, troubles=diagnose(Observation(partitions=partitions)))
    return Status(*figures, troubles=_find_troubles(client, stats, partitions))


def _find_troubles(client: Client, stats: QueueStats, partitions: Sequence[Partition]) -> tuple[Trouble, ...]:
    """Diagnose the queue, and of its processors this process's own one."""
    processor, condition = client._pipe().processor, Condition()  # noqa: SLF001
    outage = "" if processor is None else processor.outage
    try:
        condition = client.queue.condition()
    except QueueError as error:
        is_told = isinstance(error, QueueUnavailable) and partitions
        outage = outage or ("" if is_told else str(error))
    queue = client._beginning.queue_opts  # noqa: SLF001
    return diagnose(
        Observation(
            "" if queue is None else queue.queue_name,
            stats=stats,
            partitions=partitions,
            condition=condition,
            own=ProcessorInfo("") if processor is None else processor.describe(),
            outage=outage,
            max_jobs=0 if queue is None else queue.max_jobs,
            max_bytes=0 if queue is None else queue.max_bytes,
        )
    )


def _close(client: Client, stop: Stop, grace: float, log: Log) -> bool:
    """Stop within *grace* seconds, or at once at a second signal. Return whether the client has closed."""
    if stop.asked:
        log.say(f"stopping; requests under way have {grace:g} seconds (a second signal stops at once)")
    closer = threading.Thread(target=client.close, args=(grace,), daemon=True)
    closer.start()
    deadline = time.monotonic() + grace + 5.0
    while closer.is_alive() and time.monotonic() < deadline:
        closer.join(0.05)
        if stop.at_once:
            break
    if closer.is_alive():
        processor = client._pipe().processor  # noqa: SLF001
        if processor is not None:
            processor.stop(_GIVE_BACK_SECONDS, at_once=True)
        return False
    return True
