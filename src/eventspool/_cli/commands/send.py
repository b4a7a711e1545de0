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
from eventspool._cli.failure import Failed
from eventspool._cli.forms import FORMS, Record, Source
from eventspool._cli.kept_order import keep_order
from eventspool._cli.kinds import Kind
from eventspool._cli.lines import Call, LineError, LineReader
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
from eventspool._cli.pace import BUFFER_EVENTS, CHECK_EVERY, Pace, StalledError, await_room, settle
from eventspool._cli.sending import Place, Rejects
from eventspool._client import Client
from eventspool._exceptions import EventError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from eventspool._cli.options import DataPlaneAddress, QueueAddress

__all__ = ["command"]

_LARGEST_EVENT_BYTES = 460_000
"""The largest event that fits into one request. An export may come from a client with a higher limit than the usual one."""
_SHOWN_ERRORS = 20
_KEPT_ERRORS = 1000
_ENQUEUE_ONLY_KEY = "not-used"
_STDIN = "<stdin>"


@dataclass(slots=True)
class _Report:
    """What became of a file."""

    lines: int = 0
    records: int = 0
    skipped: int = 0
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
    advance: Callable[[int], object] = field(default=lambda size: None)  # noqa: ARG005

    def refuse(self, reason: str) -> None:
        self.refused += 1
        self.reasons[reason] += 1
        if len(self.errors) < _KEPT_ERRORS:
            self.errors.append({"line": self.lines, "reason": reason})
        if self.refused <= _SHOWN_ERRORS:
            say_error(f"line {self.lines}: {reason}")
        elif self.refused == _SHOWN_ERRORS + 1:
            say("… further wrong lines are only counted")


@click.command(short_help="Send a file of events: JSON lines, a JSON array or CSV, also compressed.")
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
@click.option("--format", "form", type=click.Choice(FORMS), help="The form of FILE.  [default: as it looks]")
@click.option(
    "--dry-run", is_flag=True, help="Only check the events and count them; nothing is stored or sent."
)
@click.option(
    "--rejects",
    "rejects_path",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write the refused lines there, to be mended and sent.",
)
@click.option("--resume", is_flag=True, help="Go on where a run with --resume was interrupted.")
@click.option(
    "--events-per-second",
    "rate",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Take no more events in a second.  [default: no limit]",
)
@json_option
def command(
    file: IO[bytes],
    data_plane: DataPlaneAddress,
    address: QueueAddress | None,
    spill: str | None,
    timeout: float,
    form: str | None,
    rejects_path: str | None,
    rate: float | None,
    *,
    enqueue_only: bool,
    dry_run: bool,
    resume: bool,
    sharing: Mapping[str, Any],
    as_json: bool,
) -> None:
    """
    Send FILE (- is the standard input): JSON lines, one event each; a JSON array; or CSV. Each may be compressed by gzip.

    A line is an event as `eventspool queue export` writes it, or as short as
    {"type": "track", "userId": "u1", "event": "Signed Up"}.

    In CSV the first row names the columns: type (track where it is missing), event, userId, timestamp, properties.price,
    traits.plan, context.ip and so on. In the latter, a number, true, false, null or JSON in a cell is just that.

    Sending a file twice is safe: a line without messageId gets one that depends on its content, so the receiver
    sees the same ids again. A line without timestamp has the time of sending. Lines that are no events are
    reported and skipped; the exit status is then 1.

    With --queue the events are first stored in the queue, and those that are not delivered at the end stay there.

    \b
    Examples:
      eventspool send events.jsonl
      eventspool send events.csv.gz --dry-run --rejects wrong.csv
      eventspool send large.jsonl --resume --queue redis://localhost:6379/0 --enqueue-only
    """
    if enqueue_only and address is None:
        raise click.UsageError("--enqueue-only needs --queue")
    if spill and address is None:
        raise click.UsageError("--spill needs --queue")
    name = str(getattr(file, "name", _STDIN))
    if resume and name == _STDIN:
        raise click.UsageError("--resume needs a file: what comes through a pipe cannot be read again")
    rejects = Rejects(rejects_path)
    report = _Report()
    if dry_run:
        with contextlib.closing(rejects), _progress(file) as advance:
            _check_records(Source(file, name, form, advance), report, rejects)
        _show_check(report, as_json=as_json)
        sys.exit(1 if report.refused else 0)
    if not data_plane.write_key and not enqueue_only:
        raise click.UsageError("--write-key is missing (or EVENTSPOOL_WRITE_KEY)")
    queue = None
    if address is not None:
        queue, _ = keep_order(address.opts(**sharing, encryption_key=encryption_key()), sharing)
    place = Place(name if resume else None)
    source = Source(file, name, form, lambda size: report.advance(size))  # noqa: PLW0108 - it changes
    client = Client(
        **{**asdict(data_plane), "write_key": data_plane.write_key or _ENQUEUE_ONLY_KEY},
        enable=True,
        durability="buffered",
        handle_sigterm=False,
        max_event_bytes=_LARGEST_EVENT_BYTES,
        flush_at=CHECK_EVERY,
        flush_interval=1.0,
        max_internal_queue_size=BUFFER_EVENTS,
        strict=True,
        process=not enqueue_only,
        persistence=queue,
        spill=spill,
        on_error=lambda error, events: report.failures.update({str(error): len(events)}),
    )
    started = time.monotonic()
    until = "persisted" if enqueue_only else "delivered"
    problem: Failed | None = None
    with show_warnings(err_console()):
        try:
            with contextlib.closing(rejects), _progress(file) as report.advance:
                pace = Pace(client, rate, until, timeout, notes=resume)
                _send_records(client, source, report, rejects, place, pace)
            settle(client, until, timeout)
            place.forget()
        except KeyboardInterrupt:
            report.interrupted = True
        except StalledError as error:
            say_error(str(error))
        except Failed as error:
            problem = error
            with contextlib.suppress(StalledError):
                settle(client, until, timeout)
        client.close(1.0)
    stats = client.stats()
    report.delivered, report.failed = stats.delivered, stats.failed
    report.pending = stats.accepted - stats.delivered - stats.failed
    report.elapsed = time.monotonic() - started
    _show(report, stored=stats.persisted, enqueue_only=enqueue_only, as_json=as_json)
    if problem is not None:
        raise problem
    left = stats.buffered + stats.lost + (0 if enqueue_only else stats.persisted)
    sys.exit(130 if report.interrupted else 1 if report.refused or report.failed or left else 0)


def _send_records(
    client: Client, source: Source, report: _Report, rejects: Rejects, place: Place, pace: Pace
) -> None:
    reader = LineReader()
    for record in source:
        report.lines = record.number
        report.records += 1
        if report.records % CHECK_EVERY == 0:
            await_room(client, pace.timeout)
        if not record.line and not record.problem:
            continue
        try:
            call = _read(reader, record)
            if report.records <= place.done:
                report.skipped += 1  # read all the same: identical lines get their ids by their number
                continue
            send = getattr(client, call.method)
            while send(**call.arguments) is None:  # never dropped
                await_room(client, pace.timeout)
            report.accepted += 1
        except (LineError, EventError) as error:
            if report.records > place.done:
                report.refuse(str(error))
                rejects.add(record.raw, source.header)
        if pace.wait(report.accepted):
            place.note(report.records)


def _read(reader: LineReader, record: Record) -> Call:
    if record.problem:
        raise LineError(record.problem)
    return reader.read(record.line)


def _check_records(source: Source, report: _Report, rejects: Rejects) -> None:
    """Check all records as if they were sent."""
    from eventspool._events.event import EventEncoder

    reader, encoder = LineReader(), EventEncoder(max_event_bytes=_LARGEST_EVENT_BYTES)
    for record in source:
        report.lines = record.number
        if not record.line and not record.problem:
            continue
        try:
            call = _read(reader, record)
            getattr(encoder, call.method)(**call.arguments)
            report.accepted += 1
        except (LineError, EventError) as error:
            report.refuse(str(error))
            rejects.add(record.raw, source.header)


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


def _show_check(report: _Report, *, as_json: bool) -> None:
    if as_json:
        counts = {
            "lines": report.lines,
            "accepted": report.accepted,
            "refused": report.refused,
            "dry_run": True,
        }
        more = {"refused_by_reason": dict(report.reasons), "errors": report.errors}
        print_json(Kind.SEND, {**counts, **more})
        return
    console().print(f"{format_count(report.accepted, 'event')} would be sent, {report.refused:,} refused")


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
                "skipped": report.skipped,
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
    if report.skipped:
        facts.add_row("sent before", f"{report.skipped:,}")
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
