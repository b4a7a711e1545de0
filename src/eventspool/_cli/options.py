"""
Options that several commands share, with their environment variables.

Options that belong together reach a command as one value, so that none of them is listed again in each command's arguments.
"""

from __future__ import annotations

import functools
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from click.core import ParameterSource

from eventspool._config import DEFAULT_DATA_PLANE_URL, DEFAULT_PATH, Ordering, QueueOpts, read_queue
from eventspool._config.queue import MAX_PARTITIONS
from eventspool._config.stores import list_urls
from eventspool._config.variables import variable_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "DELIVERS",
    "DataPlaneAddress",
    "QueueAddress",
    "data_plane_options",
    "encryption_key",
    "gathered",
    "json_option",
    "path_option",
    "queue_name_option",
    "queue_options",
    "queue_prefix_option",
    "require_existing",
    "sharing_options",
    "spill_option",
]

_SOURCES = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)
"""Where an option may be given, the one that goes first before the others. The last one is a profile."""
_F = TypeVar("_F", bound="Callable[..., Any]")


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """Which queue a command is about; the names are those of ``QueueOpts``."""

    url: str = field(repr=False)
    queue_name: str
    prefix: str

    def opts(self, **more: Any) -> QueueOpts:
        """Return the queue, with *more* of its options; what neither says is as the environment has it."""
        return read_queue({**asdict(self), **more}, environ=os.environ) or QueueOpts()


@dataclass(frozen=True, slots=True)
class DataPlaneAddress:
    """Where a command delivers, and with which write key ("" for none); the names are those of ``Client``."""

    write_key: str = field(repr=False)
    data_plane_url: str
    path: str
    proxy: str | None = field(repr=False)
    ca_file: str | None


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def _only_one(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> str:
    """Return the value of an option. Of two that contradict each other, click would silently take the last."""
    if len(set(value)) > 1:
        name = param.opts[0]
        raise click.BadParameter(
            f"this command is about one queue, and {name} is given {len(value)} times; `eventspool queues` shows several",
            ctx,
            param,
        )
    return value[0]


queue_name_option = click.option(
    "--queue-name",
    multiple=True,
    callback=_only_one,
    envvar=variable_of("queue_name"),
    default=("hightouchEventsQueue",),
    show_default=True,
    show_envvar=True,
    help="Name of the queue.",
)
queue_prefix_option = click.option(
    "--prefix",
    multiple=True,
    callback=_only_one,
    envvar=variable_of("prefix"),
    default=("hightouch",),
    show_default=True,
    show_envvar=True,
    help="What the queue's keys begin with.",
)
path_option = click.option(
    "--path",
    metavar="PATH",
    envvar=variable_of("path"),
    default=DEFAULT_PATH,
    show_default=True,
    show_envvar=True,
    help="The path of the data plane that takes batches, as in the clients.",
)


def queue_options(*, required: bool) -> Callable[[_F], _F]:
    """Add ``--queue``, ``--queue-name`` and ``--prefix``; pass them on as *address*, ``None`` where no queue is given."""

    def gather(queue_url: str | None, queue_name: str, prefix: str) -> dict[str, Any]:
        there = required or queue_url
        return {"address": QueueAddress(queue_url or "", queue_name, prefix) if there else None}

    return gathered(
        gather,
        click.option(
            "--queue",
            "-q",
            "queue_url",
            metavar="URL",
            envvar=variable_of("persistence"),
            required=required,
            show_envvar=True,
            help=f"The queue: {list_urls()}. A queue whose events are encrypted also needs EVENTSPOOL_ENCRYPTION_KEY.",
        ),
        queue_name_option,
        queue_prefix_option,
    )


def sharing_options(
    about: str = "Share the queue with other processes, or keep strict order.",
) -> Callable[[_F], _F]:
    """
    Add ``--multi/--single``, ``--ordering`` and ``--partitions``; pass on as *sharing* those that are given, by the names of
    ``QueueOpts``.
    """

    def gather(multi: bool | None, ordering: str | None, partitions: int | None) -> dict[str, Any]:  # noqa: FBT001
        given = {"is_multi_processor": multi, "ordering": ordering, "partitions": partitions}
        if multi is not None and ordering is not None:
            # What stands on the command line goes before what the environment says of the same thing.
            find = click.get_current_context().get_parameter_source
            sources = {"is_multi_processor": find("multi"), "ordering": find("ordering")}
            first = next((each for each in _SOURCES if each in sources.values()), None)
            given |= dict.fromkeys(name for name, source in sources.items() if source is not first)
        return {"sharing": {name: value for name, value in given.items() if value is not None}}

    return gathered(
        gather,
        click.option(
            "--multi/--single",
            envvar=variable_of("is_multi_processor"),
            default=None,
            show_envvar=True,
            help=f"{about}  [default: single]",
        ),
        click.option(
            "--ordering",
            type=click.Choice([each.value for each in Ordering]),
            envvar=variable_of("ordering"),
            show_envvar=True,
            help="What order is kept, instead of --multi (none) or --single (fifo): per_user keeps the order of each user's "
            "events, and shares the queue.",
        ),
        click.option(
            "--partitions",
            type=click.IntRange(1, MAX_PARTITIONS),
            metavar="N",
            envvar=variable_of("partitions"),
            show_envvar=True,
            help="Over how many partitions a new queue in Redis is spread; `queue resize` changes one that is in use.  "
            "[default: 1]",
        ),
    )


DELIVERS: Mapping[str, Any] = {
    "enable": True,
    "process": True,
    "strict": False,
    "durability": "buffered",
    "handle_sigterm": False,
    "persistence": None,
}
"""Options of a command's client that the environment, which may be that of an application beside it, must not change."""

spill_option = click.option(
    "--spill",
    metavar="URL",
    envvar=variable_of("spill"),
    show_envvar=True,
    help="A local file, sqlite:///PATH, that takes events while a queue in Redis is not available. Events that an "
    "earlier process left in it are moved on.",
)


def encryption_key() -> str | None:
    """Return the keys in ``EVENTSPOOL_ENCRYPTION_KEY``. They have no option, because others can read a command line."""
    return os.environ.get(variable_of("encryption_key")) or None


def data_plane_options(*, key_required: bool) -> Callable[[_F], _F]:
    """
    Add ``--write-key``, ``--data-plane-url``, ``--path``, ``--proxy`` and ``--ca-file``; pass them on as *data_plane*, a
    ``DataPlaneAddress``.
    """

    def gather(
        write_key: str | None, data_plane_url: str, path: str, proxy: str | None, ca_file: str | None
    ) -> dict[str, Any]:
        return {"data_plane": DataPlaneAddress(write_key or "", data_plane_url, path, proxy, ca_file)}

    return gathered(
        gather,
        click.option(
            "--write-key",
            "-k",
            metavar="KEY",
            envvar=variable_of("write_key"),
            required=key_required,
            show_envvar=True,
            help="The source's write key. Better given in the environment: others can read a command line.",
        ),
        click.option(
            "--data-plane-url",
            "-d",
            metavar="URL",
            envvar=variable_of("data_plane_url"),
            default=DEFAULT_DATA_PLANE_URL,
            show_default=True,
            show_envvar=True,
            help="Where events are delivered.",
        ),
        path_option,
        click.option(
            "--proxy",
            metavar="URL",
            envvar=variable_of("proxy"),
            show_envvar=True,
            help='The proxy to the data plane, http://HOST:PORT; "" for none.  [default: that of HTTPS_PROXY, HTTP_PROXY, '
            "ALL_PROXY and NO_PROXY]",
        ),
        click.option(
            "--ca-file",
            metavar="PATH",
            envvar=variable_of("ca_file"),
            show_envvar=True,
            help="A file in PEM form with the only authorities that may sign the data plane's certificate.  [default: those "
            "of the system, and of REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE and SSL_CERT_FILE]",
        ),
    )


def gathered(gather: Callable[..., dict[str, Any]], *options: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """
    Add *options* to a command, which gets one value in their place instead of an argument for each.

    Args:
        gather: Takes the options' values by name, and returns the arguments to call the command with.
        options: In the order in which ``--help`` shows them.
    """

    def add(function: _F) -> _F:
        @functools.wraps(function)
        def call(*arguments: Any, **values: Any) -> Any:
            given = gather(**{name: values.pop(name) for name in names})
            return function(*arguments, **given, **values)

        made = functools.reduce(lambda made, option: option(made), reversed(options), cast("_F", call))
        # click keeps a command's options in this attribute until it makes the command.
        names = [option.name for option in vars(made)["__click_params__"][-len(options) :]]
        return made

    return add


def require_existing(queue_url: str) -> None:
    """
    Make sure that a queue that is only looked at is there already: to open a SQLite file, for one, would make it.

    Raises:
        ConfigError: The URL is wrong.
        QueueError: The queue does not exist.
    """
    from eventspool._backends.stores import find_store

    queue = QueueOpts(url=queue_url)
    find_store(queue).require_existing(queue.target)
