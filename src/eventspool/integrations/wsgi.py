"""
WSGI applications: Flask, Pyramid, and every other one.

    app.wsgi_app = wsgi.Middleware(app.wsgi_app)

Each event then knows of its request: address, user agent, page, request id, trace and user. It is plain WSGI and needs no
other package. The default client is made of the environment, unless ``eventspool.init(…)`` has made one. Where a server ends
its processes in order, as gunicorn does, the client closes at the exit.
"""

from __future__ import annotations

import contextvars
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from eventspool import _default, context
from eventspool.integrations._request import Switches, request_of_environ
from eventspool.integrations._serving import describe_safely

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Environ = dict[str, Any]
    App = Callable[[Environ, Any], Iterable[bytes]]

__all__ = ["Middleware"]


class Middleware:
    """
    Has the events of each request know of it, also those that are tracked while the response is sent and closed.

    What the application itself says goes before: an argument of the event method first, then ``eventspool.bind`` and
    ``eventspool.context``.

    Args:
        app: The WSGI application.
        user: Called as ``user(environ)`` at each event, and returns the id of the user or ``None``: with Flask for instance
            ``lambda environ: flask.session.get("user_id")``. ``None``: no id.
        ip: The client's address: ``True``, ``False``, or ``"anonymize"``: without its last part.
        trusted_proxies: How many proxies of yours add to ``X-Forwarded-For``. 0: the header is not believed. Leave it at 0
            where another middleware or the server does this already, as werkzeug's ``ProxyFix`` does.
        user_agent: The ``User-Agent`` header.
        page: Path, URL and referrer, all of them without query and fragment.
        request_id: The header with the request's id; one is made where it is absent or odd. ``False``: no id.
        trace: The ids of OpenTelemetry's active span, or of the header ``traceparent``.

    Raises:
        ConfigError: A switch, or an option of the environment, is wrong.
    """

    def __init__(
        self,
        app: App,
        *,
        user: Callable[[Environ], Any] | None = None,
        ip: bool | Literal["anonymize"] = True,
        trusted_proxies: int = 0,
        user_agent: bool = True,
        page: bool = True,
        request_id: str | Literal[False] = "X-Request-ID",
        trace: bool = True,
    ) -> None:
        self._app = app
        self._user = user
        self._switches = Switches(
            ip=ip,
            trusted_proxies=trusted_proxies,
            user_agent=user_agent,
            page=page,
            request_id=request_id,
            trace=trace,
        )
        _default.ensure_client()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        # A server has one thread serve many requests, and a response may outlive the call. So a request has variables of its
        # own, in which the application is called, its response is read, and the response is closed.
        variables = contextvars.copy_context()
        response = variables.run(self._serve, environ, start_response)
        if type(response) in (list, tuple) or _is_file(response, environ):
            return response  # no code of the application runs any more
        return _Response(response, variables)

    def _serve(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        described = describe_safely(request_of_environ, environ, self._switches)
        user = None if self._user is None else partial(self._user, environ)
        # Not left again: the variables end with the request.
        context(user_id=user, context=described).__enter__()
        return self._app(environ, start_response)


def _is_file(response: object, environ: Environ) -> bool:
    """Say whether the server would know *response* again, and send it in a way of its own (``sendfile``)."""
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(response, wrapper)


class _Response:
    """What an application has returned, read and closed with the variables of its request."""

    def __init__(self, response: Iterable[bytes], variables: contextvars.Context) -> None:
        self._response = response
        self._variables = variables

    def __iter__(self) -> Iterator[bytes]:
        parts, end = self._variables.run(iter, self._response), object()
        while True:
            part: Any = self._variables.run(next, parts, end)
            if part is end:
                return
            yield part

    def close(self) -> None:
        close = getattr(self._response, "close", None)
        if close is not None:
            self._variables.run(close)
