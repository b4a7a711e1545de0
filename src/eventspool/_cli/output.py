"""
How output looks: one calm style for all commands.

Data goes to the standard output, everything else to the standard error. Colours and moving parts appear only on a terminal
(rich honours NO_COLOR, and this module TERM=dumb), so a program that reads the output gets plain text.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from eventspool._events.decoding import json_text
from eventspool._operate.figures import format_age, format_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import ConsoleOptions, RenderResult

__all__ = [
    "console",
    "err_console",
    "format_age",
    "format_bytes",
    "format_clock",
    "format_count",
    "format_moment",
    "json_line",
    "key_value_table",
    "moment_text",
    "on_terminal",
    "print_document",
    "printable",
    "say",
    "say_error",
    "say_warning",
    "show_warnings",
    "table",
]

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_LEAST_WIDTH = 12
"""Columns that a text needs to be read in a table."""
_WIDTH_ELSEWHERE = 160
"""Columns of output that goes to a file or a pipe."""


class _Console(Console):
    """A console that lets a command know that the program that read its output is gone."""

    def on_broken_pipe(self) -> None:
        """Raise the error; rich itself would end the process with the exit status 1."""
        raise BrokenPipeError


def console() -> Console:
    """Return the console of the standard output, as it is now."""
    return _console(sys.stdout)


def err_console() -> Console:
    """Return the console of the standard error. All share it, so that lines do not run into a moving bar."""
    return _console(sys.stderr)


_consoles: dict[TextIO, Console] = {}


def _console(file: TextIO) -> Console:
    if file not in _consoles:
        width = None if file.isatty() or "COLUMNS" in os.environ else _WIDTH_ELSEWHERE
        _consoles[file] = _Console(file=file, highlight=False, width=width)
    return _consoles[file]


def on_terminal() -> bool:
    """Whether the standard error is a terminal that can show a moving bar."""
    return err_console().is_terminal and not err_console().is_dumb_terminal


def say(text: str) -> None:
    """Write a sentence that is no data to the standard error."""
    _print_unbroken(err_console(), escape(_tame(text)))


def say_error(text: str) -> None:
    """Write to the standard error what went wrong and what to do."""
    _print_unbroken(err_console(), f"[bold red]error:[/] {escape(_tame(text))}")


def say_warning(text: str) -> None:
    """Write to the standard error what may be wrong, while the command goes on."""
    _print_unbroken(err_console(), f"[yellow]warning:[/] {escape(_tame(text))}")


def _print_unbroken(target: Console, markup: str) -> None:
    """Print a sentence: wrapped on a terminal, one line elsewhere."""
    target.print(markup, soft_wrap=not target.is_terminal)


def print_document(data: Any) -> None:
    """Print *data* as indented JSON, keys in the order given."""
    click.echo(_tame(json_text(data, indent=2)))


def json_line(data: Any) -> str:
    """Return *data* as one line of JSON."""
    return _tame(json_text(data))


def printable(text: str) -> str:
    """Return *text* from a queue with everything escaped that could steer a terminal or turn a line around."""
    return _UNPRINTABLE.sub(lambda found: _escape(found[0]), text)


def _tame(document: str) -> str:
    """Escape the characters that a terminal would obey and that JSON may hold unescaped. The meaning stays the same."""
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] == "\n" else _escape(found[0]), document)


def _escape(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]


class _Records(Table):
    """
    A table that becomes one record after another where the terminal is too narrow for it.

    So nothing is cut: neither an id, which one must be able to copy, nor a heading.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table, or its records."""
        if (
            self.__rich_measure__(console, options.update(max_width=_WIDTH_ELSEWHERE)).minimum
            <= options.max_width
        ):
            yield from super().__rich_console__(console, options)
            return
        names = [str(column.header) for column in self.columns]
        for values in zip(*(column.cells for column in self.columns), strict=True):
            record = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
            record.add_column(style="dim", no_wrap=True)
            record.add_column(overflow="fold")
            for name, value in zip(names[1:], values[1:], strict=True):
                record.add_row(name, value)
            first = Text(str(values[0]), style="bold", overflow="fold")
            yield from (first, record, Text())


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """Return an empty table; the columns named in *right* hold numbers. Lines never break in the first column."""
    made = _Records(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        if column in right:
            made.add_column(column, justify="right", no_wrap=True)
        else:
            made.add_column(column, overflow="fold", no_wrap=column == columns[0], min_width=_LEAST_WIDTH)
    return made


def key_value_table() -> Table:
    """Return an empty table of names and values, without lines."""
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    return made


def format_bytes(size: float) -> str:
    """Return *size* in the largest unit that leaves at least 1 before the point."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def moment_text(moment: float | None) -> str | None:
    """Return seconds since the epoch as RFC 3339 writes a time: UTC, milliseconds, ``Z``. ``None`` for 0.0 and none."""
    if not moment:
        return None
    try:
        found = datetime.fromtimestamp(moment, UTC)
    except (
        ValueError,
        OverflowError,
        OSError,
    ):  # of a job that another program made: no year has room for it
        return None
    return found.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def format_moment(moment: float | None) -> str:
    """Return the same for people to read: a hyphen for none."""
    return moment_text(moment) or "-"


def format_clock(moment: float) -> str:
    """Return the time of day at *moment* for people to read: in UTC, as every time that is shown."""
    return time.strftime("%H:%M:%SZ", time.gmtime(moment))


class _ToConsole(logging.Handler):
    def __init__(self, target: Console) -> None:
        super().__init__(logging.WARNING)
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):
            level = record.levelname.lower()
            _print_unbroken(self._target, f"[yellow]{level}:[/] {escape(_tame(record.getMessage()))}")


@contextlib.contextmanager
def show_warnings(target: Console) -> Iterator[None]:
    """Show the library's own warnings on *target* while this lasts."""
    handler = _ToConsole(target)
    logger = logging.getLogger("eventspool")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
