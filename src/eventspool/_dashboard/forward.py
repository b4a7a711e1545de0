"""
A data plane and the dashboard on one port: what is posted to the data plane's paths goes on to it.

The data plane stays a server of its own, on a port that only this machine knows, because its scripted faults break connections
and end its listening. The page must outlive that.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from eventspool._dataplane.intake import paths_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Forward"]

_MAX_BODY_BYTES = 1 << 20
"""What a data plane takes. It would break the connection amid a larger body, and its answer would be lost."""
_NOT_PASSED_ON = {b"connection", b"content-length", b"expect", b"host", b"keep-alive", b"transfer-encoding"}
_NOT_PASSED_BACK = {"connection", "content-length", "date", "keep-alive", "transfer-encoding"}


class Forward:
    """
    An ASGI app in front of the dashboard.

    Args:
        dashboard: Gets every other request.
        port: Where the data plane listens on this machine.
        path: Where clients post batches.
    """

    def __init__(self, dashboard: ASGIApp, port: int, path: str) -> None:
        self._dashboard = dashboard
        self._port = port
        self._paths = paths_of(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in self._paths or _is_for_page(scope):
            await self._dashboard(scope, receive, send)
            return
        request = Request(scope, receive)
        body = b""
        answer: Response | None
        try:
            async for chunk in request.stream():
                body = (body + chunk)[: _MAX_BODY_BYTES + 1]
        except ClientDisconnect:
            return
        if len(body) > _MAX_BODY_BYTES:
            answer = _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large")
        else:
            answer = await self._ask_while_there(request, body, receive)
        if answer is not None:
            await answer(scope, receive, send)

    async def _ask_while_there(self, request: Request, body: bytes, receive: Receive) -> Response | None:
        """Return the data plane's answer, ``None`` where the client is gone before it comes: then the data plane learns it."""
        asked = asyncio.ensure_future(self._ask(request, body))
        gone = asyncio.ensure_future(_wait_for_end(receive))
        try:
            await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
            return asked.result() if asked.done() else None
        finally:
            asked.cancel()
            gone.cancel()

    async def _ask(self, request: Request, body: bytes) -> Response:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                writer.write(_head(request, len(body)) + body)
                await writer.drain()
                return _read_answer(await reader.read(), request.method)
            finally:
                writer.transport.abort()
        except (OSError, http.client.HTTPException):
            return _refusal(
                HTTPStatus.BAD_GATEWAY, "the local data plane broke the connection, or is in an outage"
            )


def _is_for_page(scope: Scope) -> bool:
    """Say whether a browser asks for the page, where batches are posted to the same address."""
    return bool(scope["path"] == "/" and scope["method"] in ("GET", "HEAD"))


def _refusal(status: HTTPStatus, message: str) -> Response:
    return Response(json.dumps({"ok": False, "message": message}), status, media_type="application/json")


async def _wait_for_end(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _head(request: Request, size: int) -> bytes:
    path = request.scope.get("raw_path") or request.scope["path"].encode()
    query = request.scope.get("query_string")
    lines = [b"%s %s%s HTTP/1.1" % (request.method.encode(), path, b"?" + query if query else b"")]
    lines += [b"%s: %s" % each for each in request.scope["headers"] if each[0] not in _NOT_PASSED_ON]
    lines += [b"host: 127.0.0.1", b"connection: close", b"content-length: %d" % size, b"", b""]
    return b"\r\n".join(lines)


class _Received:
    """Bytes, as ``http.client`` reads them from a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._data)


def _read_answer(data: bytes, method: str) -> Response:
    """Return the answer that *data* is. Raises ``HTTPException`` where it is none, or only a part of one."""
    answer = http.client.HTTPResponse(_Received(data), method=method)  # type: ignore[arg-type] # all that it needs
    answer.begin()
    headers = {name: text for name, text in answer.getheaders() if name.lower() not in _NOT_PASSED_BACK}
    return Response(answer.read(), answer.status, headers)
