"""``eventspool dashboard``: the queue in a browser."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
import webbrowser
from dataclasses import asdict
from typing import TYPE_CHECKING, NoReturn

import click

from eventspool._cli.options import encryption_key, json_option, queue_options, require_existing
from eventspool._cli.output import console, json_line, say
from eventspool._cli.signals import handling
from eventspool._operate.queue import open_queue

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from eventspool._cli.options import QueueAddress

__all__ = ["command"]


@click.command(short_help="See and steer the queue in a browser.")
@queue_options(required=True)
@click.option(
    "--host",
    envvar="EVENTSPOOL_DASHBOARD_HOST",
    default="127.0.0.1",
    show_default=True,
    show_envvar=True,
    help="Where to listen.",
)
@click.option(
    "--port",
    "-p",
    type=click.IntRange(0, 65535),
    envvar="EVENTSPOOL_DASHBOARD_PORT",
    default=8124,
    show_default=True,
    show_envvar=True,
    help="0 takes a free one.",
)
@click.option(
    "--token",
    metavar="TOKEN",
    envvar="EVENTSPOOL_DASHBOARD_TOKEN",
    show_envvar=True,
    help="The secret that a browser must show. Better given in the environment.  [default: a new one each time]",
)
@click.option(
    "--read-only",
    is_flag=True,
    envvar="EVENTSPOOL_DASHBOARD_READ_ONLY",
    show_envvar=True,
    help="Show, but change nothing.",
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    metavar="NAME",
    multiple=True,
    envvar="EVENTSPOOL_DASHBOARD_ALLOW_HOST",
    show_envvar=True,
    help="A host name under which other machines reach it; may be repeated (in the environment: with spaces between).",
)
@click.option(
    "--dataplane",
    metavar="URL",
    envvar="EVENTSPOOL_DASHBOARD_DATAPLANE",
    show_envvar=True,
    help="The URL of an `eventspool dataplane` on this machine: the page shows what arrives there, and has it fail on demand.",
)
@click.option("--open/--no-open", "opens", default=False, show_default=True, help="Open the browser.")
@json_option
def command(
    address: QueueAddress,
    host: str,
    port: int,
    token: str | None,
    allowed_hosts: tuple[str, ...],
    dataplane: str | None,
    *,
    read_only: bool,
    opens: bool,
    as_json: bool,
) -> None:
    """
    See and steer the queue in a browser, until Ctrl-C.

    It prints an address with the token that lets a browser in (--json: one line, with the address, url, and the token). Only
    this machine can reach it, unless --host says otherwise: then put it behind a proxy that speaks TLS.

    \b
    Examples:
      eventspool dashboard --queue redis://localhost:6379/0 --open
      eventspool dashboard --queue sqlite:///events.db --dataplane http://127.0.0.1:8123
    """
    try:
        from eventspool._dashboard.app import create_app
    except ImportError as error:
        raise click.ClickException(
            f"the dashboard needs {error.name}; run: pip install 'eventspool[dashboard]'"
        ) from None
    from eventspool._dashboard import security

    token = security.new_token() if token is None else security.require_token(token)
    hosts = (*allowed_hosts, security.ANY_ADDRESS if host in ("", "0.0.0.0", "::") else host)  # noqa: S104
    require_existing(address.url)
    with open_queue(**asdict(address), encryption_key=encryption_key()) as queue:
        app = create_app(
            queue,
            token=token,
            read_only=read_only,
            allowed_hosts=hosts,
            name=address.queue_name,
            dataplane=dataplane,
        )
        with _listen(host, port) as listener:
            shown = f"[{host}]" if ":" in host else host
            url = f"http://{shown}:{listener.getsockname()[1]}/?token={token}"
            if as_json:
                click.echo(json_line({"url": url, "token": token}))
            else:
                console().print(url, style="bold", soft_wrap=True, markup=False)
            sys.stdout.flush()
            _introduce(url, host, opens=opens)
            _serve(app, listener)


def _introduce(url: str, host: str, *, opens: bool) -> None:
    from eventspool._dashboard.security import is_loopback

    if not is_loopback(host):
        say("Other machines can reach this, unencrypted. Put it behind a proxy that speaks TLS.")
    say("Ctrl-C ends it.")
    if opens:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {host}:{port} ({error.strerror}); try another --port, or 0 for a free one"
        ) from None


def _serve(app: ASGIApp, listener: socket.socket) -> None:
    """Serve until a signal comes. Ctrl-C raises ``KeyboardInterrupt``, SIGTERM exits with 0."""
    import uvicorn

    def end(number: int, frame: object) -> NoReturn:  # noqa: ARG001
        sys.exit(0)

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # it would hold the token
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    with handling(end, signal.SIGTERM), contextlib.suppress(TimeoutError):
        uvicorn.Server(config).run(sockets=[listener])  # raises the signal again once all is closed
