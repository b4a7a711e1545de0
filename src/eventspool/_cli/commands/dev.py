"""``eventspool dev``: a data plane, the dashboard and a worker on one port, to develop an application against."""

from __future__ import annotations

import json
import os
import shlex
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
from rich.markup import escape

from eventspool._cli.answer import print_json_line
from eventspool._cli.kinds import Kind
from eventspool._cli.options import (
    DELIVERS,
    QueueAddress,
    encryption_key,
    json_option,
    path_option,
    queue_name_option,
    queue_prefix_option,
    sharing_options,
)
from eventspool._cli.output import console, err_console, say, show_warnings
from eventspool._cli.serving import (
    introduce,
    listen,
    listening_at,
    names_of,
    open_option,
    require_server,
    serve,
    token_option,
)
from eventspool._client import Client
from eventspool._config import DEFAULT_PATH
from eventspool._config.variables import variable_of
from eventspool._operate.queue import open_queue_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["command"]

_KEY = "dev"
_CLOSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Place:
    """What an application has to know, and a browser."""

    url: str
    queue: str
    path: str
    token: str = field(repr=False)

    @property
    def dashboard(self) -> str:
        return f"{self.url}/?token={self.token}#/events"

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that make ``eventspool.Client()`` send here."""
        values = {"data_plane_url": self.url, "write_key": _KEY, "persistence": self.queue}
        if self.path != DEFAULT_PATH:
            values["path"] = self.path
        return {variable_of(option): text for option, text in values.items()}

    @property
    def snippet(self) -> str:
        """Return the program that sends a first event."""
        path = f", path={json.dumps(self.path)}" if self.path != DEFAULT_PATH else ""
        return (
            "import eventspool\n"
            f'client = eventspool.Client("{_KEY}", data_plane_url="{self.url}"{path})\n'
            'client.track("user-1", "Order Completed", {"order_id": "o-17", "total": 9.99})\n'
            "print(client.flush(timeout=10))"
        )


@click.command(short_help="A data plane, dashboard and worker on one port, to develop against.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port", "-p", type=click.IntRange(0, 65535), default=8123, show_default=True, help="0 takes a free one."
)
@click.option(
    "--queue",
    "-q",
    "queue_url",
    metavar="URL",
    help="The queue that the worker delivers, to this data plane. Never taken from the environment, which may name one whose "
    "events must go elsewhere.  [default: a SQLite file, eventspool/dev.db in $XDG_STATE_HOME or ~/.local/state]",
)
@queue_name_option
@queue_prefix_option
@path_option
@sharing_options()
@token_option
@open_option
@json_option
def command(
    host: str,
    port: int,
    queue_url: str | None,
    queue_name: str,
    prefix: str,
    path: str,
    token: str | None,
    *,
    sharing: Mapping[str, Any],
    opens: bool,
    as_json: bool,
) -> None:
    """
    Run a data plane that takes any write key, the dashboard, and a worker with an embedded queue, on one port, until Ctrl-C.

    It prints the page's address, a program of four lines that sends a first event, and the variables with which an application
    sends here. The page shows each event as it arrives, and makes the data plane fail. No account and no network are needed.

    \b
    Examples:
      eventspool dev --open
      eventspool dev --port 0 --queue sqlite:///dev.db --json
    """
    require_server()
    from eventspool._dashboard import security
    from eventspool._dashboard.app import create_app
    from eventspool._dashboard.dataplane import LocalDataPlane
    from eventspool._dashboard.forward import Forward
    from eventspool._dataplane import DataPlane

    token = security.new_token() if token is None else security.require_token(token)
    address = QueueAddress(queue_url or _find_default_queue(), queue_name, prefix)
    opts = address.opts(**sharing, encryption_key=encryption_key())
    with ExitStack() as stack:
        stack.enter_context(show_warnings(err_console()))
        listener = stack.enter_context(listen(host, port))
        place = _Place(listening_at(host, listener), address.url, path, token)
        queue = stack.enter_context(open_queue_of(opts))
        if queue.processors():
            say("Another process delivers this queue, too, perhaps elsewhere: give --queue one of your own.")
        plane = stack.enter_context(DataPlane(None, path=path))
        client = Client(
            _KEY, data_plane_url=plane.url, path=path, proxy="", ca_file=None, spill=None, **DELIVERS
        )
        stack.callback(client.close, _CLOSE_SECONDS)
        client.create_persistence_queue(opts)
        page = create_app(
            queue,
            token=token,
            allowed_hosts=(names_of(host),),
            name=queue_name,
            dataplane=LocalDataPlane(plane.url, public_url=place.url, path=path),
        )
        _show(place, as_json=as_json)
        introduce(place.dashboard, host, opens=opens)
        serve(Forward(page, plane.port, path), listener)


def _find_default_queue() -> str:
    """Return the URL of a file that belongs to the user, and that later runs find again."""
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        folder = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError:  # in a container, under a user id that has no name there
        raise click.UsageError(
            "this user has no home directory: say with --queue where the queue is"
        ) from None
    return f"sqlite:///{quote(str(folder / 'eventspool' / 'dev.db'))}"


def _show(place: _Place, *, as_json: bool) -> None:
    if as_json:
        told = {
            "dashboard": place.dashboard,
            "token": place.token,
            "data_plane_url": place.url,
            "write_key": _KEY,
            "queue": place.queue,
            "environment": place.environment,
            "snippet": place.snippet,
        }
        print_json_line(Kind.DEV, told)
    else:
        out = console()
        for title, text in (
            ("Dashboard", place.dashboard),
            ("Data plane", f"{place.url} (takes any write key)"),
            ("Queue", place.queue),
        ):
            out.print(f"{title:<11} [bold]{escape(text)}[/]", soft_wrap=True)
        out.print("\n[dim]A first event, from Python:[/]\n")
        click.echo(place.snippet)
        out.print("\n[dim]An application sends here, with eventspool.Client(), where its shell has:[/]\n")
        for name, text in place.environment.items():
            click.echo(f"export {name}={shlex.quote(text)}")
        click.echo()
    sys.stdout.flush()
