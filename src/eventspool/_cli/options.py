"""Options that several commands share, with their environment variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eventspool._config import DEFAULT_DATA_PLANE_URL, DEFAULT_PATH, SQLiteOpts, parse_queue_url
from eventspool._exceptions import QueueError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "data_plane_options",
    "encryption_key",
    "json_option",
    "multi_option",
    "queue_options",
    "require_existing",
    "spill_option",
]

_F = TypeVar("_F", bound="Callable[..., Any]")


def json_option(function: _F) -> _F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)


def queue_options(*, required: bool) -> Callable[[_F], _F]:
    """Add ``--queue``, ``--queue-name`` and ``--prefix``."""

    def add(function: _F) -> _F:
        function = click.option(
            "--prefix",
            envvar="EVENTSPOOL_PREFIX",
            default="hightouch",
            show_default=True,
            show_envvar=True,
            help="What the queue's keys begin with.",
        )(function)
        function = click.option(
            "--queue-name",
            envvar="EVENTSPOOL_QUEUE_NAME",
            default="hightouchEventsQueue",
            show_default=True,
            show_envvar=True,
            help="Name of the queue.",
        )(function)
        return click.option(
            "--queue",
            "-q",
            "queue_url",
            metavar="URL",
            envvar="EVENTSPOOL_QUEUE",
            required=required,
            show_envvar=True,
            help="The queue: redis://HOST:PORT/DB, unix://PATH or sqlite:///PATH. What is stored encrypted needs "
            "EVENTSPOOL_ENCRYPTION_KEY, too.",
        )(function)

    return add


def multi_option(function: _F) -> _F:
    """Add ``--multi/--single``."""
    return click.option(
        "--multi/--single",
        envvar="EVENTSPOOL_MULTI",
        default=False,
        show_envvar=True,
        help="Share the queue with other processes, or keep strict order.  [default: single]",
    )(function)


def spill_option(function: _F) -> _F:
    """Add ``--spill``."""
    return click.option(
        "--spill",
        metavar="URL",
        envvar="EVENTSPOOL_SPILL",
        show_envvar=True,
        help="A local file, sqlite:///PATH, for events while a queue in Redis is not available. What an earlier "
        "process left in it is moved on.",
    )(function)


def encryption_key() -> str | None:
    """Return the keys of ``EVENTSPOOL_ENCRYPTION_KEY``. There is no option for them: others can read a command line."""
    return os.environ.get("EVENTSPOOL_ENCRYPTION_KEY") or None


def data_plane_options(*, key_required: bool) -> Callable[[_F], _F]:
    """Add ``--write-key``, ``--data-plane-url`` and ``--path``."""

    def add(function: _F) -> _F:
        function = click.option(
            "--path",
            metavar="PATH",
            envvar="EVENTSPOOL_PATH",
            default=DEFAULT_PATH,
            show_default=True,
            show_envvar=True,
            help="Where batches go there, as the clients have it.",
        )(function)
        function = click.option(
            "--data-plane-url",
            "-d",
            metavar="URL",
            envvar="EVENTSPOOL_DATA_PLANE_URL",
            default=DEFAULT_DATA_PLANE_URL,
            show_default=True,
            show_envvar=True,
            help="Where events are delivered.",
        )(function)
        return click.option(
            "--write-key",
            "-k",
            metavar="KEY",
            envvar="EVENTSPOOL_WRITE_KEY",
            required=key_required,
            show_envvar=True,
            help="The source's write key. Better given in the environment: others can read a command line.",
        )(function)

    return add


def require_existing(queue_url: str) -> None:
    """
    Make sure that a queue that is only looked at is there already: opening a SQLite file would create it.

    Raises:
        ConfigError: The URL is wrong.
        QueueError: The file does not exist.
    """
    target = parse_queue_url(queue_url)
    if isinstance(target, SQLiteOpts) and not Path(target.path).is_file():
        raise QueueError(f"there is no queue at {target.path}; check the path (sqlite:////… is absolute)")
