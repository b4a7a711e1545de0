"""The log of a long-running command: lines for people, or JSON, one object a line, for programs that collect logs."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from eventspool._cli.output import moment_text, say, show_warnings
from eventspool._events.decoding import json_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from rich.console import Console

    from eventspool._operate.diagnosis import Trouble

__all__ = ["LOG_FORMATS", "Log"]

LOG_FORMATS = ("text", "json")
_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "note": logging.INFO}
_logger = logging.getLogger("eventspool.worker")


class Log:
    """
    The place where a command's own messages and the library's warnings go.

    Args:
        format: One of ``LOG_FORMATS``.
    """

    def __init__(self, format: str) -> None:  # noqa: A002 - the option's name
        self.is_json = format == "json"

    def say(self, text: str, **fields: object) -> None:
        """Write a message. In JSON, *fields* stand beside it."""
        if self.is_json:
            _logger.info("%s", text, extra={"fields": fields})
        else:
            say(text)

    def tell_of(self, trouble: Trouble) -> None:
        """Write what is wrong, and what to do about it. In JSON its code stands beside it."""
        level = _LEVELS[trouble.severity.value]
        _logger.log(
            level,
            "%s [%s]; what to do: %s",
            trouble.cause,
            trouble.code,
            trouble.remedy,
            extra={"fields": {"code": trouble.code, "is_obstacle": trouble.is_obstacle}},
        )

    @contextlib.contextmanager
    def listening(self, target: Console) -> Iterator[None]:
        """Send the library's log to *target* while this lasts."""
        if not self.is_json:
            with show_warnings(target):
                yield
            return
        handler = _ToJSON(target.file)
        library = logging.getLogger("eventspool")
        before = library.level
        library.addHandler(handler)
        library.setLevel(logging.INFO)
        try:
            yield
        finally:
            library.removeHandler(handler)
            library.setLevel(before)


class _ToJSON(logging.Handler):
    def __init__(self, stream: TextIO | Any) -> None:
        super().__init__(logging.INFO)
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        line = {
            "time": moment_text(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(json_text(line, ascii_only=True) + "\n")
            self._stream.flush()
