"""
How a supervisor learns how a worker is: from a few small HTTP answers, and from systemd's datagrams.

*Live* means that this process works; a worker that is not live should be restarted. An outage of the queue or of the data
plane does not make it so, because a restart mends neither. *Ready* means that it can claim and settle, so that a roll-out may
go on: the queue takes its writes, the data plane takes events, and the worker was not asked to stop. A rate limit, or a queue
that takes no new events and still drains, is told beside that, and makes no worker unready.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import click

from eventspool._events.decoding import json_text
from eventspool._operate.diagnosis import find_obstacle
from eventspool._operate.exposition import PROMETHEUS_CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eventspool._operate.diagnosis import Trouble

__all__ = [
    "DEFAULT_HOST",
    "METRICS_PATH",
    "PATHS",
    "HasHealth",
    "Health",
    "notify_service_manager",
    "serve_health",
]

DEFAULT_HOST = "127.0.0.1"
PATHS = {"live": "/livez", "ready": "/readyz"}
METRICS_PATH = "/metrics"
STALE_AFTER = 30.0
"""Seconds without a sign of life from the worker's loop until it is not live. One look at a hanging queue may take 10."""
_READ_TIMEOUT = 5.0
_PROCESSOR = "eventspool-processor"


class HasHealth(Protocol):
    """What a supervisor asks."""

    def not_live(self) -> str:
        """Return why the process should be restarted, or ""."""

    def not_ready(self) -> str:
        """Return why it does not do its work, or ""."""

    @property
    def findings(self) -> Sequence[Trouble]:
        """What is wrong, also where it does its work all the same."""


class Health:
    """
    How the worker is. Its loop writes this; the threads that answer HTTP requests read it.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen_at = clock()
        self._obstacle = "the worker is starting"
        self.findings: Sequence[Trouble] = ()
        self._is_working = False

    def note(self, troubles: Sequence[Trouble]) -> None:
        """Note a sign of life, and what is wrong. With an obstacle among that, no event flows."""
        self._seen_at = self._clock()
        obstacle = find_obstacle(troubles)
        self.findings, self._obstacle = (
            troubles,
            "" if obstacle is None else f"{obstacle.title}: {obstacle.cause}",
        )
        self._is_working = True

    def stop(self) -> None:
        """Note that the worker was asked to stop: it is not ready any more, and need not be restarted."""
        self._obstacle = "the worker is stopping"
        self._is_working = False

    def not_live(self) -> str:
        """Return why the process should be restarted, or ""."""
        silence = self._clock() - self._seen_at
        if self._is_working and silence > STALE_AFTER:
            return f"the worker's loop has not been seen for {silence:.0f} seconds"
        if self._is_working and not any(thread.name == _PROCESSOR for thread in threading.enumerate()):
            return "the processor has ended"
        return ""

    def not_ready(self) -> str:
        """Return why events do not flow, or ""."""
        return self._obstacle or self.not_live()


@contextlib.contextmanager
def serve_health(
    health: HasHealth,
    host: str,
    port: int | None,
    read_metrics: Callable[[], str] = str,
    *,
    option: str = "--health-port",
) -> Iterator[int | None]:
    """
    Answer requests for ``/livez`` and ``/readyz`` while this lasts, with 200, or with 503 and the reason; and requests of
    Prometheus for ``/metrics`` with the text that *read_metrics* returns. Without a *port*, do nothing. Yield the port, a free
    one where *port* is 0; *option* names what to change where it cannot be had.

    Raises:
        click.ClickException: The port cannot be listened on.
    """
    if port is None:
        yield None
        return
    asked = {PATHS["live"]: health.not_live, PATHS["ready"]: health.not_ready}

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = _READ_TIMEOUT

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path == METRICS_PATH:
                self._answer(200, read_metrics().encode(), PROMETHEUS_CONTENT_TYPE)
            elif (ask := asked.get(path)) is not None:
                reason = ask()
                body: dict[str, Any] = {"ok": not reason, "reason": reason or None}
                if path == PATHS["ready"]:
                    body["troubles"] = [each.as_dict() for each in health.findings]
                self._tell(503 if reason else 200, body)
            else:
                self._tell(404, {"error": f"known are {', '.join([*asked, METRICS_PATH])}"})

        def do_HEAD(self) -> None:
            self.do_GET()

        def _tell(self, status: int, body: dict[str, Any]) -> None:
            self._answer(status, json_text(body, ascii_only=True).encode() + b"\n", "application/json")

        def _answer(self, status: int, content: bytes, content_type: str) -> None:
            self.send_response_only(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
            """Write nothing, because probes come every few seconds."""

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Write nothing when a probe hangs up: it is no error of the worker."""

    try:
        server = Server((host, port), Handler)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {host}:{port} for health checks ({error.strerror}); choose another {option}"
        ) from None
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="eventspool-health", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_READ_TIMEOUT)


def notify_service_manager(message: str) -> None:
    """Tell systemd (``Type=notify``): ``READY=1``, ``STOPPING=1``, ``WATCHDOG=1``. Without systemd, nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # an abstract name of Linux
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(message.encode(), address)
