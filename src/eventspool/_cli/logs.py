"""What a long-running command says: lines for people, or JSON, one object a line, for whatever collects logs."""

from __future__ import annotations

import contextlib
import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from eventspool._cli.output import say, show_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from rich.console import Console

__all__ = ["LOG_FORMATS", "Log"]

LOG_FORMATS = ("text", "json")
_logger = logging.getLogger("eventspool.worker")


class Log:
    """
    Where a command's own words and the library's warnings go.

    Args:
        format: One of ``LOG_FORMATS``.
    """

    def __init__(self, format: str) -> None:  # noqa: A002 - the option's name
        self.is_json = format == "json"

    def say(self, text: str, **fields: object) -> None:
        """Say what happens. In JSON, *fields* stand beside the message."""
        if self.is_json:
            _logger.info("%s", text, extra={"fields": fields})
        else:
            say(text)

    @contextlib.contextmanager
    def listening(self, target: Console) -> Iterator[None]:
        """Have the library's log go to *target* while this lasts."""
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
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(json.dumps(line, default=str) + "\n")
            self._stream.flush()
