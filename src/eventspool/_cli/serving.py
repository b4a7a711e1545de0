"""What the commands that serve a page share: the address with its token, and the server, until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import threading
import webbrowser
from typing import TYPE_CHECKING, NoReturn

import click

from eventspool._cli.output import say
from eventspool._cli.signals import handling

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = [
    "introduce",
    "listen",
    "listening_at",
    "names_of",
    "open_option",
    "require_server",
    "serve",
    "token_option",
]

_EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - only compared

token_option = click.option(
    "--token",
    metavar="TOKEN",
    envvar="EVENTSPOOL_DASHBOARD_TOKEN",
    show_envvar=True,
    help="The secret that a browser must show. Better given in the environment.  [default: a new one each time]",
)
open_option = click.option(
    "--open/--no-open", "opens", default=False, show_default=True, help="Open the browser."
)


def require_server() -> None:
    """Raise ``ClickException`` where the packages are missing that serve a page."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise click.ClickException(
            f"the dashboard needs {error.name}; run: pip install 'eventspool[dashboard]'"
        ) from None


def listen(host: str, port: int) -> socket.socket:
    """Return what listens there. Raises ``ClickException`` where nothing can."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {host}:{port} ({error.strerror}); try another --port, or 0 for a free one"
        ) from None


def listening_at(host: str, listener: socket.socket) -> str:
    """Return the address of *listener*, which listens on *host*, without a path."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


def names_of(host: str) -> str:
    """Return the host name, or the mark for any address, under which a page on *host* is reached."""
    from eventspool._dashboard.security import ANY_ADDRESS

    return ANY_ADDRESS if host in _EVERY_ADDRESS else host


def introduce(url: str, host: str, *, opens: bool) -> None:
    """Say on the standard error who can reach the page at *url*, and open it in a browser where that *opens*."""
    from eventspool._dashboard.security import is_loopback

    if not is_loopback(host):
        say("Other machines can reach this, unencrypted. Put it behind a proxy that speaks TLS.")
    say("Ctrl-C ends it.")
    if opens:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Serve until a signal comes. Ctrl-C raises ``KeyboardInterrupt``, SIGTERM exits with 0."""
    import uvicorn

    def end(number: int, frame: object) -> NoReturn:  # noqa: ARG001
        sys.exit(0)

    config = uvicorn.Config(
        _ending_with_server(app),
        log_level="warning",
        access_log=False,  # it would hold the token
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    with handling(end, signal.SIGTERM), contextlib.suppress(TimeoutError):
        uvicorn.Server(config).run(sockets=[listener])  # raises the signal again once all is closed


def _ending_with_server(app: ASGIApp) -> ASGIApp:
    """Return *app* so that a request which the server ends, because it has waited long enough, is answered with 503."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        is_answered = False

        async def send_once(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await app(scope, receive, send_once)
        except asyncio.CancelledError:  # else the server prints a traceback for each client that is slow
            if not is_answered:
                await send(
                    {"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]}
                )
                await send({"type": "http.response.body"})

    return run
