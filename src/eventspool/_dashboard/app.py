"""
The ASGI app: a guard in front of the page, its files and the endpoints.

Each of several queues has its own page below its own path, and all addresses in a page are relative. So a page of one queue
can never ask, or change, another one: to go there is to leave the page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from eventspool._dashboard import security
from eventspool._dashboard.api import Api
from eventspool._dashboard.dataplane import LocalDataPlane
from eventspool._dashboard.several import Several
from eventspool._dashboard.tokens import Token, TokenFile, digest_of, find_token
from eventspool._dashboard.visitor import ACTOR, TOKEN

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from eventspool._operate.queue import Queue

__all__ = ["create_app"]

_STATIC = Path(__file__).parent / "static"
_PAGE = re.compile(r"/(?:q/[^/]+/)?")
_STYLE = re.compile(r"/(?:q/[^/]+/)?static/[^/]+\.(?:css|svg)")
"""What the page needs that asks for the token."""
_WRONG = (
    '<p class="problem" role="alert">That was not the token of this dashboard, or is not any more. Unless one was set, it has '
    "a new one after each start; one with a name can be revoked.</p>"
)


def create_app(
    queue: Queue | Mapping[str, Queue] | Sequence[Queue],
    *,
    token: str | None,
    read_only: bool = False,
    allowed_hosts: Sequence[str] = (),
    name: str = "",
    dataplane: str | LocalDataPlane | None = None,
    tokens: str | os.PathLike[str] | None = None,
    actor: Callable[[Scope], str] | None = None,
) -> ASGIApp:
    """
    Return the dashboard of one queue, or of several, as an ASGI app, to be served or mounted.

        app.mount("/events", create_app(eventspool.open_queue(url), token=None, read_only=True))
        app.mount("/events", create_app({"orders": orders, "clicks": clicks}, token=None))

    Args:
        queue: The queue that it shows, or several, which may be on several servers: by the names under which they are shown,
            or in a list, where each goes by its own name. You close them.
        token: The secret that a browser must have: once in the URL (``?token=…``), then in a cookie, or in
            ``Authorization: Bearer``. ``None`` where your own application has already checked who the user is: then nothing
            here checks it again.
        read_only: Show the queue, and refuse every request that changes something.
        allowed_hosts: Host names under which it may be reached, besides this machine's loopback names. Without port.
        name: The name of an only queue on the page; without it, the queue's own.
        dataplane: The URL of an ``eventspool dataplane`` on this machine, for the page *Events*.
        tokens: The file of the tokens that `eventspool dashboard token add` has made: one for each person, which lets a
            browser in as *token* does.
        actor: Says, by the ASGI scope of a request, who it comes from, for the queue's trail: as your own application knows
            it. Without it, it is the name of the token, or the user of this process.

    Raises:
        ConfigError: The token is too short, the file of tokens cannot be read, or the data plane is not on this machine.
    """
    plane = LocalDataPlane(dataplane) if isinstance(dataplane, str) else dataplane
    if isinstance(queue, Mapping | Sequence):
        several = Several(queue, read_only=read_only, dataplane=plane)
        routes = [
            Route("/", _file("queues.html"), methods=["GET"]),
            _static(),
            Route("/api/queues", several.list, methods=["GET"]),
            Mount("/q/{key}", several.of_each(lambda api: Starlette(routes=_routes(api)))),
        ]
    else:
        routes = _routes(Api(queue, name=name or queue.name, read_only=read_only, dataplane=plane))
    hosts = (*security.LOOPBACK_HOSTS, *(host.lower() for host in allowed_hosts))
    return _Guard(Starlette(routes=routes), _Doors.of(token, tokens), hosts, actor)


def _routes(api: Api) -> list[BaseRoute]:
    """Return the page of one queue, its files and its endpoints."""
    return [Route("/", _file("index.html"), methods=["GET"]), _static(), Mount("/api", routes=api.routes())]


def _static() -> Mount:
    return Mount("/static", StaticFiles(directory=_STATIC))


@dataclass(frozen=True, slots=True)
class _Doors:
    """Which tokens let a browser in: the one for all, and those in a file."""

    common: Token | None
    file: TokenFile | None

    @classmethod
    def of(cls, token: str | None, tokens: str | os.PathLike[str] | None) -> _Doors:
        """Raises ``ConfigError`` where one of them cannot be used."""
        common = None if token is None else Token("", digest_of(security.require_token(token)))
        file = None if tokens is None else TokenFile(tokens)
        if file is not None:
            file.read()
        return cls(common, file)

    @property
    def are_open(self) -> bool:
        """No token is asked for."""
        return self.common is None and self.file is None

    def tokens(self) -> list[Token]:
        """Return them all."""
        return [*([self.common] if self.common else []), *(self.file.tokens() if self.file else ())]


class _Bound(TypedDict):
    """What restricts the use of a cookie."""

    path: str
    secure: bool
    httponly: bool
    samesite: Literal["strict"]


class _Guard:
    """Asks for the token, checks where a request comes from, and adds the headers that restrict the browser."""

    def __init__(
        self, app: ASGIApp, doors: _Doors, hosts: Sequence[str], actor: Callable[[Scope], str] | None
    ) -> None:
        self._app = app
        self._doors = doors
        self._hosts = hosts
        self._actor = actor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no websockets here
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_bound(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(security.HEADERS)
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        request = Request(scope, receive)
        answer = self._refuse(request)
        if answer is None and self._actor is not None:
            scope[ACTOR] = self._actor(scope)
        await (answer or self._app)(scope, receive, send_bound)

    def _refuse(self, request: Request) -> Response | None:
        """Return the answer to a request that goes no further: one that is forbidden, signs in, or lacks the page's slash."""
        headers = request.headers
        root = request.scope.get("root_path", "")
        path = request.scope["path"].removeprefix(root)
        is_page = _PAGE.fullmatch(path) is not None
        try:
            security.check_host(headers.get("host"), self._hosts)
            security.check_site(request.method, headers, page=is_page or not path)
        except security.Forbidden as refused:
            return PlainTextResponse(f"{refused}\n", HTTPStatus.FORBIDDEN)
        if path == "":  # the relative addresses in the page would lead to the wrong place
            return RedirectResponse(f"{root}/", HTTPStatus.TEMPORARY_REDIRECT)
        if self._doors.are_open:
            return None
        given = request.query_params.get("token") if is_page else None
        found = security.candidates(
            given=given, authorization=headers.get("authorization"), cookies=request.cookies
        )
        tokens = self._doors.tokens()
        token = find_token(found, tokens)
        if token is None:
            if _STYLE.fullmatch(path):
                return None
            if is_page:
                return _sign_in(is_wrong=bool(given))
            return PlainTextResponse("the token is missing or wrong\n", HTTPStatus.UNAUTHORIZED)
        request.scope[TOKEN] = token
        if given is not None and digest_of(given) == token.sha256:
            return _let_in(request, given, root, path, tokens)
        return None


def _let_in(request: Request, given: str, root: str, path: str, tokens: Sequence[Token]) -> Response:
    """Keep the token that was *given* in a cookie, so that it leaves the address bar and the history."""
    answer = RedirectResponse(f"{root}{path}", HTTPStatus.SEE_OTHER)
    secure = request.url.scheme == "https"  # as the server says, which knows the proxies to trust
    bound: _Bound = {"path": f"{root}/", "secure": secure, "httponly": True, "samesite": "strict"}
    own = security.cookie_name(given)
    for name, value in request.cookies.items():
        # A browser that two persons use acts for the one who came last. The cookie of another dashboard, on another port of
        # this host, stays.
        if name != own and name == security.cookie_name(value) and find_token([value], tokens):
            answer.delete_cookie(name, **bound)
    answer.set_cookie(own, given, **bound)
    return answer


def _sign_in(*, is_wrong: bool) -> Response:
    page = (_STATIC / "signin.html").read_text(encoding="utf-8")
    return HTMLResponse(page.replace("<!-- wrong -->", _WRONG if is_wrong else ""), HTTPStatus.UNAUTHORIZED)


def _file(name: str) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:  # noqa: ARG001
        return FileResponse(_STATIC / name)

    return answer
