"""The middleware: each event knows of its request, and of its user if the application does."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.utils.functional import LazyObject, empty

from eventspool import context
from eventspool._events.scope import entered
from eventspool.integrations._request import Request, header_of_environ
from eventspool.integrations._serving import describe_safely
from eventspool.integrations.django.options import read_switches

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator

    from django.http import HttpRequest

    from eventspool._events.scope import Scope

__all__ = ["Middleware"]


class Middleware:
    """
    Has each event know of its request. It may stand anywhere in ``MIDDLEWARE``; what stands before it tracks without.

    The user is ``request.user``, but only where the application has looked at it before the event is tracked: this middleware
    never has the user loaded, which would cost a query and have the response vary by cookie.

    It serves synchronous and asynchronous applications as they are. Events that are tracked while a response is streamed know
    of the request, too.

    Args:
        get_response: What Django hands over.

    Raises:
        ConfigError: ``settings.EVENTSPOOL_REQUEST`` is wrong.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._switches = read_switches()
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Serve one request: return the response, or, in an asynchronous application, what to await for it."""
        if self._is_async:
            return self._serve(request)
        with context(**self._scope(request)):
            return _streaming_within(self._get_response(request))

    async def _serve(self, request: HttpRequest) -> Any:
        with context(**self._scope(request)):
            return _streaming_within(await self._get_response(request))

    def _scope(self, request: HttpRequest) -> dict[str, Any]:
        described = describe_safely(_read, request, self._switches)
        return {"user_id": partial(_known_user, request), "context": described}


def _read(request: HttpRequest) -> Request:
    return Request(
        header_of_environ(request.META), request.META.get("REMOTE_ADDR") or "", request.scheme, request.path
    )


def _known_user(request: HttpRequest) -> Any:
    """Return the id of the authenticated user, ``None`` where there is none or the application has not asked for it."""
    user = vars(request).get("user")
    if isinstance(user, LazyObject):
        user = vars(user).get("_wrapped", empty)
        if user is empty:
            user = getattr(request, "_acached_user", None)  # what `await request.auser()` has found
    if user is None or not getattr(user, "is_authenticated", False):
        return None
    return user.pk


def _streaming_within(response: Any) -> Any:
    """Have what *response* streams after we have returned be made in the scope of this moment."""
    scope = entered()
    if not getattr(response, "streaming", False) or getattr(response, "file_to_stream", None) is not None:
        return response  # a file is left alone, so that the server may send it in a way of its own
    if scope is not None:
        stream = _stream_async if response.is_async else _stream
        response.streaming_content = stream(response.streaming_content, scope)
    return response


def _stream(parts: Iterable[bytes], scope: Scope) -> Iterator[bytes]:
    iterator, end = iter(parts), object()
    while True:
        with _resumed(scope):
            part: Any = next(iterator, end)
        if part is end:
            return
        yield part


async def _stream_async(parts: AsyncIterable[bytes], scope: Scope) -> AsyncIterator[bytes]:
    iterator, end = aiter(parts), object()
    while True:
        with _resumed(scope):
            part: Any = await anext(iterator, end)
        if part is end:
            return
        yield part


def _resumed(scope: Scope) -> context:
    """Return what enters *scope* once more: the one who asks for the next part is not in it, and does not stay in it."""
    return context(
        user_id=scope.user_id,
        anonymous_id=scope.anonymous_id,
        context=scope.context,
        properties=scope.properties,
    )
