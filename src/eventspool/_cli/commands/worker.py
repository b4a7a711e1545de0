"""``eventspool worker``: deliver a queue until told to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import click
from rich.live import Live
from rich.text import Text

from eventspool._cli.health import DEFAULT_HOST, Health, notify_service_manager, serve_health
from eventspool._cli.logs import LOG_FORMATS, Log
from eventspool._cli.options import (
    data_plane_options,
    encryption_key,
    json_option,
    multi_option,
    queue_options,
    spill_option,
)
from eventspool._cli.output import err_console, format_count, on_terminal, print_json, say
from eventspool._cli.signals import Stop
from eventspool._client import Client
from eventspool._config import JobOpts, QueueOpts
from eventspool._exceptions import QueueError
from eventspool._metrics import QueueReader, metrics_text
from eventspool._queue import open_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from eventspool._job import QueueStats

__all__ = ["command"]

_JOBS = JobOpts()
_LOOK_EVERY = 0.5
_ONCE_LOOK_EVERY = 0.1
_LINE_EVERY = 30.0
_GIVE_BACK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Status:
    """
    One line about a worker.

    Args:
        batches: Batches that it delivered.
        waiting: Events that wait, the delayed ones included.
        leased: Events under way, here or elsewhere.
        failed: Events in the failed queue.
        paused: The data plane is down or refuses the write key; only probes are sent.
        queue_paused: Somebody paused the queue: nothing is handed out.
        reachable: The queue answers.
    """

    batches: int = 0
    waiting: int = 0
    leased: int = 0
    failed: int = 0
    paused: bool = False
    queue_paused: bool = False
    reachable: bool = True

    @property
    def is_empty(self) -> bool:
        """Nothing is left to deliver."""
        return self.reachable and not self.waiting and not self.leased

    def __str__(self) -> str:
        if not self.reachable:
            state = "queue not reachable"
        elif self.queue_paused:
            state = "paused"
        elif self.paused:
            state = "only probing"
        else:
            state = "idle" if self.is_empty else "delivering"
        counts = f"{self.waiting:,} waiting, {self.leased:,} under way, {self.failed:,} failed"
        return f"{state}: {format_count(self.batches, 'batch', 'batches')} delivered, events: {counts}"


@click.command()
@data_plane_options(key_required=True)
@queue_options(required=True)
@spill_option
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    envvar="EVENTSPOOL_CONCURRENCY",
    show_envvar=True,
    help="Requests under way at once.  [default: 8; 1 with --single]",
)
@multi_option
@click.option(
    "--max-attempts",
    type=click.IntRange(1),
    envvar="EVENTSPOOL_MAX_ATTEMPTS",
    default=_JOBS.max_attempts,
    show_default=True,
    show_envvar=True,
    help="Failed attempts after which a batch is given up.",
)
@click.option(
    "--retry-for",
    type=click.FloatRange(0),
    envvar="EVENTSPOOL_RETRY_FOR",
    default=_JOBS.retry_for,
    show_default=True,
    show_envvar=True,
    metavar="SECONDS",
    help="... and the age that it must have reached besides.",
)
@click.option(
    "--backoff-initial",
    type=click.FloatRange(0, min_open=True),
    envvar="EVENTSPOOL_BACKOFF_INITIAL",
    default=_JOBS.backoff_initial,
    show_default=True,
    show_envvar=True,
    metavar="SECONDS",
    help="Bound of the first wait for a retry; it doubles with every attempt.",
)
@click.option(
    "--backoff-max",
    type=click.FloatRange(0, min_open=True),
    envvar="EVENTSPOOL_BACKOFF_MAX",
    default=_JOBS.backoff_max,
    show_default=True,
    show_envvar=True,
    metavar="SECONDS",
    help="Largest bound of such a wait.",
)
@click.option(
    "--visibility-timeout",
    type=click.FloatRange(0.05),
    envvar="EVENTSPOOL_VISIBILITY_TIMEOUT",
    default=_JOBS.visibility_timeout,
    show_default=True,
    show_envvar=True,
    metavar="SECONDS",
    help="How long a batch is kept from others after its worker was last heard of.",
)
@click.option(
    "--grace",
    type=click.FloatRange(0),
    envvar="EVENTSPOOL_GRACE",
    default=20.0,
    show_default=True,
    show_envvar=True,
    metavar="SECONDS",
    help="Time for requests under way when told to stop.",
)
@click.option("--once", is_flag=True, help="Stop when the queue is empty.")
@click.option(
    "--health-port",
    type=click.IntRange(1, 65535),
    envvar="EVENTSPOOL_HEALTH_PORT",
    show_envvar=True,
    help="Answer GET /livez and /readyz there, which `eventspool health` asks, and /metrics for Prometheus.",
)
@click.option(
    "--health-host",
    envvar="EVENTSPOOL_HEALTH_HOST",
    default=DEFAULT_HOST,
    show_default=True,
    show_envvar=True,
    help="Where that listens; 0.0.0.0 for probes from outside a container.",
)
@click.option(
    "--log-format",
    type=click.Choice(LOG_FORMATS),
    envvar="EVENTSPOOL_LOG_FORMAT",
    default="text",
    show_default=True,
    show_envvar=True,
    help="What is said on the standard error.",
)
@json_option
def command(
    write_key: str,
    data_plane_url: str,
    path: str,
    queue_url: str,
    queue_name: str,
    prefix: str,
    spill: str | None,
    concurrency: int | None,
    max_attempts: int,
    retry_for: float,
    backoff_initial: float,
    backoff_max: float,
    visibility_timeout: float,
    grace: float,
    health_port: int | None,
    health_host: str,
    log_format: str,
    *,
    multi: bool,
    once: bool,
    as_json: bool,
) -> None:
    """
    Deliver a queue until SIGTERM or Ctrl-C.

    The first signal lets requests under way finish (--grace); a second one stops at once. What is not delivered stays
    in the queue. Several workers on one queue: give all of them --multi.

    The exit status is 0 after SIGTERM, 130 after Ctrl-C; with --once 0 when the queue is empty and nothing new failed.

    \b
    Examples:
      eventspool worker --queue redis://localhost:6379/0 --multi
      eventspool worker --queue sqlite:///events.db --once --json
      eventspool worker --multi --health-port 8181 --log-format json
    """
    jobs = JobOpts(
        max_attempts=max_attempts,
        retry_for=retry_for,
        backoff_initial=backoff_initial,
        backoff_max=backoff_max,
        concurrency=concurrency,
        visibility_timeout=visibility_timeout,
    )
    queue = QueueOpts(
        url=queue_url,
        queue_name=queue_name,
        prefix=prefix,
        is_multi_processor=multi,
        job_opts=jobs,
        encryption_key=encryption_key(),
    )
    client = Client(write_key, data_plane_url=data_plane_url, path=path, spill=spill)
    failed_before = _count_failed(queue)
    stop, health, log = Stop(), Health(), Log(log_format)
    reader = QueueReader(queue_name, lambda: client.queue)

    def read_metrics() -> str:
        return metrics_text({"worker": client}, [reader])

    with (
        _shown(log, quiet=as_json) as (show, target),
        log.listening(target),
        stop.listening(),
        serve_health(health, health_host, health_port, read_metrics),
    ):
        try:
            client.create_persistence_queue(queue)
        except QueueError as error:
            log.say(f"{error}; trying again until it works")
        status = _work(client, stop, _Watch(health, show), once=once)
        health.stop()
        notify_service_manager("STOPPING=1")
        closed = _close(client, stop, 0.5 if once and not stop.asked else grace, log)
        status = _look(client, status, queue) if closed else status
        if log.is_json:
            log.say(str(status), **asdict(status))
    if as_json:
        print_json(asdict(status))
    elif not log.is_json:
        say(str(status))
    sys.stdout.flush()
    if not closed:
        os._exit(128 + stop.signal if stop.asked else 1)
    if stop.signal == signal.SIGINT:
        sys.exit(130)
    sys.exit(1 if once and not stop.asked and status.failed > failed_before else 0)


def _count(queue: QueueOpts) -> QueueStats:
    """Ask the queue on a connection of our own."""
    with open_queue(queue.url or "", queue.queue_name, queue.prefix) as found:
        return found.stats()


def _count_failed(queue: QueueOpts) -> int:
    """Count the failed events that are there before this worker adds any."""
    with contextlib.suppress(QueueError):
        return _count(queue).failed.events
    return 0


class _Watch:
    """Passes each look at the worker on to whoever wants to know: people, probes, systemd."""

    def __init__(self, health: Health, show: Callable[[_Status], None]) -> None:
        self._health = health
        self._show = show
        self._is_announced = False

    def see(self, status: _Status) -> None:
        """Pass *status* on."""
        self._show(status)
        obstacle = ""
        if not status.reachable:
            obstacle = "the queue is not reachable"
        elif status.paused:
            obstacle = "the data plane is down or refuses the write key; only probes are sent"
        self._health.note(obstacle)
        if not self._health.not_live():
            notify_service_manager("WATCHDOG=1" if self._is_announced else "READY=1")
            self._is_announced = True


def _work(client: Client, stop: Stop, watch: _Watch, *, once: bool) -> _Status:
    status = _Status()
    while not stop.wait(_ONCE_LOOK_EVERY if once else _LOOK_EVERY):
        status = _look(client, status)
        watch.see(status)
        if once and status.is_empty and not client._pipe().is_spilling:  # noqa: SLF001
            break
    return status


def _look(client: Client, last: _Status | None = None, closed: QueueOpts | None = None) -> _Status:
    """Ask the client and the queue how things stand. A *closed* client's own connection is going down."""
    own = client.stats()
    batches, paused = own.sent, own.paused
    try:
        stats = _count(closed) if closed else client.queue.stats()
    except QueueError:
        return replace(last or _Status(), batches=batches, paused=paused, reachable=False)
    waiting = stats.waiting.events + stats.delayed.events
    return _Status(batches, waiting, stats.leased.events, stats.failed.events, paused, stats.paused)


def _close(client: Client, stop: Stop, grace: float, log: Log) -> bool:
    """Stop within *grace* seconds, or at once at a second signal. Return whether it was in good order."""
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
            giver = threading.Thread(target=processor.give_back, daemon=True)
            giver.start()
            giver.join(_GIVE_BACK_SECONDS)
        return False
    return True


@contextlib.contextmanager
def _shown(log: Log, *, quiet: bool) -> Iterator[tuple[Callable[[_Status], None], Console]]:
    """Yield what shows a status: one live line on a terminal, a line now and then elsewhere."""
    target = err_console()
    if on_terminal() and not log.is_json:
        with Live(
            console=target, refresh_per_second=4, transient=True, redirect_stdout=False, redirect_stderr=False
        ) as live:
            yield lambda status: live.update(Text(str(status))), live.console
        return
    told, again_at = "", 0.0

    def show(status: _Status) -> None:
        nonlocal told, again_at
        now, text = time.monotonic(), str(status)
        if (log.is_json or not quiet) and text != told and now >= again_at:
            told, again_at = text, now + _LINE_EVERY
            if log.is_json:
                log.say(text, **asdict(status))
            else:
                target.print(text)

    yield show, target
