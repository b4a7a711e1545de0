"""Calls web applications as their servers do, without a server between."""

from __future__ import annotations

import asyncio
import contextlib
import io
from typing import Any

import eventspool


def new_scope(kind: str = "http", path: str = "/", **more: Any) -> dict[str, Any]:
    """Return the ASGI scope of a request."""
    headers = [(name.lower().encode(), value.encode()) for name, value in more.pop("headers", {}).items()]
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": more.pop("method", "GET"),
        "scheme": "http",
        "path": path,
        "raw_path": b"",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("203.0.113.9", 4711),
        "server": ("testserver", 80),
        "state": {},
        **more,
    }


async def ask_asgi(app: Any, scope: dict[str, Any]) -> tuple[int, bytes]:
    """Make a request. Return status and body."""
    status, body = 0, b""
    requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if requests:
            return requests.pop()
        await asyncio.Event().wait()  # the client stays
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, body
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            body += message.get("body", b"")

    await app(scope, receive, send)
    return status, body


@contextlib.asynccontextmanager
async def living(app: Any, state: dict[str, Any] | None = None) -> Any:
    """
    Start an application and stop it, as servers do by lifespan. Gives the list of what it has sent.

    What it leaves in *state* is for the scopes of its requests.
    """
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    said: list[str] = []

    async def hear() -> None:
        message = asyncio.ensure_future(from_app.get())
        await asyncio.wait([message, task], return_when=asyncio.FIRST_COMPLETED)
        if not message.done():
            message.cancel()
            task.result()
            raise AssertionError("the application has ended without a word")
        said.append((await message)["type"])

    scope = {
        "type": "lifespan",
        "asgi": {"version": "3.0", "spec_version": "2.0"},
        "state": {} if state is None else state,
    }
    task = asyncio.ensure_future(app(scope, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    await hear()
    yield said
    await to_app.put({"type": "lifespan.shutdown"})
    await hear()
    await task


def new_environ(path: str = "/", method: str = "GET", body: bytes = b"", **headers: str) -> dict[str, Any]:
    """Return the environment of a WSGI request."""
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "203.0.113.9",
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
    }


def ask_wsgi(app: Any, environ: dict[str, Any]) -> tuple[str, bytes]:
    """Make a request, read the response, and close it. Return status and body."""
    said: list[str] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        said.append(status)

    response = app(environ, start_response)
    try:
        body = b"".join(response)
    finally:
        if hasattr(response, "close"):
            response.close()
    return said[-1], body


def nothing_is_left() -> bool:
    """Say whether no request has left anything in the variables of this thread or task."""
    return eventspool.current() == {}
