"""
ASGI applications: FastAPI, Starlette, Litestar, and Django under an ASGI server.

    app = FastAPI(lifespan=asgi.lifespan)
    app.add_middleware(asgi.Middleware)

``lifespan`` makes the default client when the application starts and closes it when it stops; ``Middleware`` has each event
know of its request: address, user agent, page, request id, trace and user. Both are plain ASGI and need no other package.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from eventspool import _default, context
from eventspool.integrations._request import Request, Switches
from eventspool.integrations._serving import describe_safely

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["Lifespan", "Middleware", "lifespan"]

_CLOSE_BUDGET = 5.0
"""Seconds that the end of an application waits for its events. Servers and container hosts kill after 10 to 30."""


class Middleware:
    """
    Has the events of each request know of it.

    A WebSocket's events know of the request that opened it. Scopes of other types pass through. What the application itself
    says goes before: an argument of the event method first, then ``eventspool.bind`` and ``eventspool.context``.

    Args:
        app: The ASGI application.
        user: Called as ``user(scope)`` at each event, and returns the id of the user or ``None``: for instance
            ``lambda scope: scope["session"].get("user_id")``. ``None``: the ``identity`` of the authenticated user that
            Starlette's ``AuthenticationMiddleware`` has put into the scope, if it has.
        ip: The client's address: ``True``, ``False``, or ``"anonymize"``: without its last part.
        trusted_proxies: How many proxies of yours add to ``X-Forwarded-For``. 0: the header is not believed. Leave it at 0
            where the server does this already, as uvicorn does with ``--forwarded-allow-ips``.
        user_agent: The ``User-Agent`` header.
        page: Path, URL and referrer, all of them without query and fragment.
        request_id: The header with the request's id; one is made where it is absent or odd. ``False``: no id.
        trace: The ids of OpenTelemetry's active span, or of the header ``traceparent``.

    Raises:
        ConfigError: A switch is wrong.
    """

    def __init__(
        self,
        app: App,
        *,
        user: Callable[[Scope], Any] | None = None,
        ip: bool | Literal["anonymize"] = True,
        trusted_proxies: int = 0,
        user_agent: bool = True,
        page: bool = True,
        request_id: str | Literal[False] = "X-Request-ID",
        trace: bool = True,
    ) -> None:
        self._app = app
        self._user = _user_of_starlette if user is None else user
        self._switches = Switches(
            ip=ip,
            trusted_proxies=trusted_proxies,
            user_agent=user_agent,
            page=page,
            request_id=request_id,
            trace=trace,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        described = describe_safely(_read, scope, self._switches)
        with context(user_id=partial(self._user, scope), context=described):
            await self._app(scope, receive, send)


def _read(scope: Scope) -> Request:
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        found[name] = found[name] + b"," + value if name in found else value
    client = scope.get("client")
    return Request(
        lambda name: found.get(name.lower().encode("latin-1"), b"").decode("utf-8", "replace"),
        client[0] if client and isinstance(client[0], str) else "",
        scope.get("scheme", "http"),
        scope["path"],
    )


def _user_of_starlette(scope: Scope) -> Any:
    user = scope.get("user")
    if user is None or not getattr(user, "is_authenticated", False):
        return None
    try:
        return getattr(user, "identity", None)
    except NotImplementedError:  # as Starlette's own classes say of users without one
        return None


@contextlib.asynccontextmanager
async def lifespan(app: object = None) -> AsyncIterator[None]:  # noqa: ARG001 - frameworks hand it over
    """
    Make the default client when an application starts, and close it when it stops.

    ``FastAPI(lifespan=lifespan)``; or, in a lifespan of yours, ``async with lifespan(app): yield``. The client is made of the
    environment, unless ``eventspool.init(…)`` has made one. The end waits for events for five seconds at most, and meanwhile
    the event loop goes on.

    Raises:
        ConfigError: There is no client yet, and an option of the environment is absent or wrong.
    """
    _default.ensure_client()
    if _default.current_client() is None:
        _default.init()  # which says what is absent
    try:
        yield
    finally:
        await _close()


class Lifespan:
    """
    Closes the default client when the server stops, also where the application knows nothing of lifespans, as Django.

        application = Lifespan(get_asgi_application())

    A server such as uvicorn ends its processes by a signal, so that Python's exit handlers do not run. Where there is no
    default client yet, it is made of the environment.

    Args:
        app: The ASGI application.

    Raises:
        ConfigError: An option of the environment is wrong.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        _default.ensure_client()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the application."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_spoken = False

        async def receive_noted() -> Message:
            nonlocal is_spoken
            is_spoken = True
            return await receive()

        async def send_after_close(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await _close()
            await send(message)

        try:
            await self._app(scope, receive_noted, send_after_close)
        except Exception:
            if is_spoken:
                raise
        else:
            if is_spoken:
                return
        # The application has not even listened: it knows no lifespans. The server is told that all is well.
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await _close()
        await send({"type": "lifespan.shutdown.complete"})


async def _close() -> None:
    """Close the default client, while the event loop goes on."""
    client = _default.current_client()
    if client is None:
        return
    try:
        await asyncio.to_thread(client.close, _CLOSE_BUDGET)
    except (
        RuntimeError
    ):  # the loop is none of asyncio's, or there is no thread to be had: then the loop waits
        client.close(_CLOSE_BUDGET)
