"""Where a queue's SQLite file is, and how its URL is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, unquote

from eventspool._config.checks import FromMapping, reject_unknown, require_text, split_url
from eventspool._exceptions import ConfigError

__all__ = ["SQLiteOpts", "read_sqlite_url"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SQLiteOpts(FromMapping):
    """
    Where the SQLite file is, and how durable: what ``sqlite:///path?synchronous=normal`` says.

    Args:
        path: The file. Its folder is made if it is missing.
        synchronous: ``full`` (the default): a stored event survives a power cut. ``normal``: it survives a
            killed process, but a power cut or a crash of the operating system may take the last ones.
            SQLite's ``PRAGMA synchronous``.
    """

    path: str
    synchronous: Literal["full", "normal"] = "full"

    def __post_init__(self) -> None:
        require_text("path", self.path)
        if self.synchronous not in ("full", "normal"):
            raise ConfigError(f"synchronous must be 'full' or 'normal', not {self.synchronous!r}")


def read_sqlite_url(url: str) -> SQLiteOpts:
    """Return what *url* says. Raises ``ConfigError`` where it names no file, or holds an option that SQLite does not have."""
    parts = split_url(url)
    if parts.netloc or not url[7:].startswith("///") or parts.fragment:
        raise ConfigError(
            "write sqlite:///relative/path or sqlite:////absolute/path: three or four slashes, # as %23"
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    reject_unknown(options, ["synchronous"], "the SQLite URL")
    path = unquote(parts.path[1:])
    if not path:
        raise ConfigError("the SQLite URL names no file: write sqlite:///queue.db")
    return SQLiteOpts(path=path, **{k: v.lower() for k, v in options.items()})  # type: ignore[arg-type]
