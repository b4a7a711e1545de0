"""``eventspool send``: send the events of a file. To send a file twice does no harm."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import IO, TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from eventspool._cli.answer import print_json
from eventspool._cli.kept_order import keep_order
from eventspool._cli.kinds import Kind
from eventspool._cli.lines import LineError, LineReader, read_lines
from eventspool._cli.options import (
    data_plane_options,
    encryption_key,
    json_option,
    queue_options,
    sharing_options,
    spill_option,
)
from eventspool._cli.output import (
    console,
    err_console,
    format_count,
    key_value_table,
    on_terminal,
    say,
    say_error,
    show_warnings,
)
from eventspool._client import Client
from eventspool._exceptions import EventError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from eventspool._cli.options import DataPlaneAddress, QueueAddress

__all__ = ["command"]

_BUFFER_EVENTS = 20_000
_CHECK_EVERY = 500
"""Lines between two looks at how full the buffer is. Room for this number of events is always left in it."""
_LARGEST_EVENT_BYTES = 460_000
"""The largest event that fits into one request. An export may come from a client with a higher limit than the usual one."""
_SHOWN_ERRORS = 20
_KEPT_ERRORS = 1000
_ENQUEUE_ONLY_KEY = "not-used"


@dataclass(slots=True)
class _Report:
    """What became of a file."""

    lines: int = 0
    accepted: int = 0
    refused: int = 0
    delivered: int = 0
    failed: int = 0
    pending: int = 0
    interrupted: bool = False
    elapsed: float = 0.0
    errors: list[dict[str, Any]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def refuse(self, reason: str) -> None:
        self.refused += 1
        self.reasons[reason] += 1
        if len(self.errors) < _KEPT_ERRORS:
            self.errors.append({"line": self.lines, "reason": reason})
        if self.refused <= _SHOWN_ERRORS:
            say_error(f"line {self.lines}: {reason}")
        elif self.refused == _SHOWN_ERRORS + 1:
            say("… further wrong lines are only counted")


class _StalledError(Exception):
    """Nothing moved for too long."""


@click.command(short_help="Send a file of events, one JSON object a line.")
@click.argument("file", type=click.File("rb"))
@data_plane_options(key_required=False)
@queue_options(required=False)
@spill_option
@click.option(
    "--enqueue-only", is_flag=True, help="Only store the events in the queue; a worker delivers them."
)
@sharing_options()
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up when no event was stored or delivered for this long.",
)
@json_option
def command(
    file: IO[bytes],
    data_plane: DataPlaneAddress,
    address: QueueAddress | None,
    spill: str | None,
    timeout: float,
    *,
    enqueue_only: bool,
    sharing: Mapping[str, Any],
    as_json: bool,
) -> None:
    """
    Send FILE (- is the standard input): JSON lines, one event each.

    A line is an event as `eventspool queue export` writes it, or as short as
    {"type": "track", "userId": "u1", "event": "Signed Up"}.

    Sending a file twice is safe: a line without messageId gets one that depends on its content, so the receiver
    sees the same ids again. A line without timestamp has the time of sending. Lines that are no events are
    reported and skipped; the exit status is then 1.

    With --queue the events are first stored in the queue, and those that are not delivered at the end stay there.

    \b
    Examples:
      eventspool send events.jsonl
      zcat events.jsonl.gz | eventspool send - --queue redis://localhost:6379/0 --enqueue-only
    """
    if enqueue_only and address is None:
        raise click.UsageError("--enqueue-only needs --queue")
    if spill and address is None:
        raise click.UsageError("--spill needs --queue")
    if not data_plane.write_key and not enqueue_only:
        raise click.UsageError("--write-key is missing (or EVENTSPOOL_WRITE_KEY)")
    queue = None
    if address is not None:
        queue, _ = keep_order(address.opts(**sharing, encryption_key=encryption_key()), sharing)
    report = _Report()
    client = Client(
        **{**asdict(data_plane), "write_key": data_plane.write_key or _ENQUEUE_ONLY_KEY},
        enable=True,
        durability="buffered",
        handle_sigterm=False,
        max_event_bytes=_LARGEST_EVENT_BYTES,
        flush_at=_CHECK_EVERY,
        flush_interval=1.0,
        max_internal_queue_size=_BUFFER_EVENTS,
        strict=True,
        process=not enqueue_only,
        persistence=queue,
        spill=spill,
        on_error=lambda error, events: report.failures.update({str(error): len(events)}),
    )
    started = time.monotonic()
    until = "persisted" if enqueue_only else "delivered"
    with show_warnings(err_console()):
        try:
            with _progress(file) as advance:
                _send_lines(client, file, report, advance, timeout)
            _settle(client, until, timeout)
        except KeyboardInterrupt:
            report.interrupted = True
        except _StalledError as error:
            say_error(str(error))
        client.close(1.0)
    stats = client.stats()
    report.delivered, report.failed = stats.delivered, stats.failed
    report.pending = stats.accepted - stats.delivered - stats.failed
    report.elapsed = time.monotonic() - started
    _show(report, stored=stats.persisted, enqueue_only=enqueue_only, as_json=as_json)
    left = stats.buffered + stats.lost + (0 if enqueue_only else stats.persisted)
    sys.exit(130 if report.interrupted else 1 if report.refused or report.failed or left else 0)


def _send_lines(client: Client, file: IO[bytes], report: _Report, advance: Any, timeout: float) -> None:
    reader = LineReader()
    for size, line, whole in read_lines(file):
        report.lines += 1
        advance(size)
        if report.lines % _CHECK_EVERY == 0:
            _await_room(client, timeout)
        if not line and whole:
            continue
        try:
            if not whole:
                raise LineError("longer than any event may be")  # noqa: TRY301 - one place reports
            call = reader.read(line)
            send = getattr(client, call.method)
            while send(**call.arguments) is None:  # never dropped
                _await_room(client, timeout)
            report.accepted += 1
        except (LineError, EventError) as error:
            report.refuse(str(error))


def _await_room(client: Client, timeout: float) -> None:
    """Wait while the client holds as many events as it may."""
    patience = _Patience(timeout)
    while (stats := client.stats()).buffered > _BUFFER_EVENTS - 2 * _CHECK_EVERY:
        patience.check(stats.buffered)
        time.sleep(0.01)


def _settle(client: Client, until: Any, timeout: float) -> None:
    patience = _Patience(timeout)
    while (result := client.flush(until=until, timeout=0.25)).pending:
        patience.check(result.pending)


class _Patience:
    """Raises ``_StalledError`` once a count has stood still for *seconds*."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._count = -1
        self._since = time.monotonic()

    def check(self, count: int) -> None:
        now = time.monotonic()
        if count != self._count:
            self._count, self._since = count, now
        elif now - self._since > self._seconds:
            raise _StalledError(
                f"nothing moved for {self._seconds:g} seconds; giving up. Is the data plane reachable?"
            )


@contextlib.contextmanager
def _progress(file: IO[bytes]) -> Iterator[Any]:
    """Show a bar by bytes on a terminal; yield the function that advances it."""
    if not on_terminal():
        yield lambda size: None  # noqa: ARG005
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=err_console(), transient=True, redirect_stdout=False, redirect_stderr=False
    ) as bar:
        task = bar.add_task("sending", total=_size(file))
        yield lambda size: bar.advance(task, size)


def _size(file: IO[bytes]) -> int | None:
    try:
        found = os.fstat(file.fileno())
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _show(report: _Report, *, stored: int, enqueue_only: bool, as_json: bool) -> None:
    if as_json:
        print_json(
            Kind.SEND,
            {
                "lines": report.lines,
                "accepted": report.accepted,
                "refused": report.refused,
                "delivered": report.delivered,
                "failed": report.failed,
                "pending": report.pending,
                "stored": stored,
                "interrupted": report.interrupted,
                "elapsed": round(report.elapsed, 3),
                "refused_by_reason": dict(report.reasons),
                "failed_by_reason": dict(report.failures),
                "errors": report.errors,
            },
        )
        return
    facts = key_value_table()
    facts.columns[1].justify = "right"
    facts.add_row("lines", f"{report.lines:,}")
    facts.add_row("accepted", f"{report.accepted:,}")
    if report.refused:
        facts.add_row("refused", f"{report.refused:,}")
    facts.add_row(
        "stored" if enqueue_only else "delivered", f"{stored if enqueue_only else report.delivered:,}"
    )
    if report.failed:
        facts.add_row("failed", f"{report.failed:,}")
    if report.pending and not enqueue_only:
        facts.add_row("pending", f"{report.pending:,}")
    console().print(facts)
    for reason, count in report.failures.most_common(5):
        say_error(f"{format_count(count, 'event')}: {reason}")
    if report.interrupted:
        say("Interrupted. Send the file again: what has arrived keeps its id.")
    elif report.pending and not enqueue_only:
        where = "they are safe in the queue: run `eventspool worker`" if stored else "send the file again"
        say(f"{format_count(report.pending, 'event')} not delivered; {where}.")
