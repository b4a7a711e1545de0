"""
What an event is told of the request in which it was tracked: one small function for each switch. Pure.

Everything here comes from a stranger. So each value is checked against the form that it must have, or cut to a length: no
request can make its events too large to be taken, and no header of a client's can pass for what a trusted proxy says.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from eventspool._events.clock import new_message_id
from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Request", "Switches", "describe", "header_of_environ", "request_of_environ"]

_LONGEST_USER_AGENT = 512
"""Characters. The user agents of browsers have 100 to 250."""
_LONGEST_URL = 1024
"""Characters of a path, of a URL and of a referrer."""
_LONGEST_ADDRESS = 64
"""Characters. The longest address, with a zone and a port, has fewer; reading a longer text would only cost time."""
_REQUEST_ID = re.compile(r"[\w.:/+=@~-]{1,128}", re.ASCII)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST = re.compile(r"(?:[\w.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)
_PLAIN_PATH = re.compile(r"[\w/.-]*", re.ASCII)
"""A path that needs no quoting, as most do."""
_REFERRER = re.compile(r"(https?|android-app)://(?:[^/?#]*@)?([^/?#@]+)([^?#]*)")
_TRACE_PARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_PORT = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """
    Which parts of a request its events are told.

    Args:
        ip: The client's address as ``context.ip``. ``"anonymize"``: without the last 8 bits of an IPv4 address, and with the
            first 48 bits of an IPv6 address alone. ``False``: not at all.
        trusted_proxies: How many proxies of yours stand before the application and add to ``X-Forwarded-For``. That many of
            the header's last entries are believed; what a client has written before them never is. 0: the header is not read.
        user_agent: The ``User-Agent`` header as ``context.userAgent``.
        page: ``context.page`` with ``path``, ``url`` and ``referrer``. All of them are without query and fragment, in which
            there are tokens, search words and addresses of people.
        request_id: The header with the request's id, which becomes ``context.requestId``. Where it is absent, or is no id of
            at most 128 letters, digits and ``._:/+=@~-``, one is made. ``False``: no id.
        trace: ``context.traceId`` and ``context.spanId``: those of the active span of OpenTelemetry, or else those in the
            header ``traceparent``.

    Raises:
        ConfigError: A switch has a value that it cannot have.
    """

    ip: bool | Literal["anonymize"] = True
    trusted_proxies: int = 0
    user_agent: bool = True
    page: bool = True
    request_id: str | Literal[False] = "X-Request-ID"
    trace: bool = True

    def __post_init__(self) -> None:
        given: dict[str, Any] = {
            name: getattr(self, name) for name in self.__slots__
        }  # whatever a setting says
        if given["ip"] != "anonymize" and not isinstance(given["ip"], bool):
            raise ConfigError(f'ip must be True, False or "anonymize", not {given["ip"]!r}')
        count = given["trusted_proxies"]
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ConfigError(f"trusted_proxies must be a number of proxies, 0 or more, not {count!r}")
        for name in ("user_agent", "page", "trace"):
            if not isinstance(given[name], bool):
                raise ConfigError(f"{name} must be True or False, not {given[name]!r}")
        header = given["request_id"]
        if header is not False and not (isinstance(header, str) and _HEADER_NAME.fullmatch(header)):
            raise ConfigError(f"request_id must be the name of a header, or False, not {header!r}")


@dataclass(frozen=True, slots=True)
class Request:
    """
    A request, as far as ``describe`` reads it.

    Args:
        header: Returns the value of the header of that name, "" where there is none. Several of one name are one, with commas.
        peer: The address at the other end of the connection; "" where there is none, as with a Unix socket.
        scheme: ``http``, ``https``, ``ws`` or ``wss``.
        path: Unquoted, with what the application is mounted below.
    """

    header: Callable[[str], str]
    peer: str
    scheme: str
    path: str


def describe(request: Request, switches: Switches) -> dict[str, Any]:
    """Return the ``context`` of the events of *request*."""
    context: dict[str, Any] = {}
    header = request.header
    if switches.ip and (address := _client_address(request, switches)):
        context["ip"] = address
    if switches.user_agent and (agent := _cut(header("user-agent"), _LONGEST_USER_AGENT)):
        context["userAgent"] = agent
    if switches.page:
        context["page"] = _page(request)
    if switches.request_id:
        given = header(switches.request_id)
        context["requestId"] = given if _REQUEST_ID.fullmatch(given) else new_message_id()
    if switches.trace and (trace := _active_span() or _sent_span(header("traceparent"))):
        context["traceId"], context["spanId"] = trace
    return context


def _client_address(request: Request, switches: Switches) -> str:
    """Return the client's address, "" where no trustworthy one is known."""
    seen, proxies = request.peer, switches.trusted_proxies
    if proxies:
        hops = request.header("x-forwarded-for").split(",")
        # Each proxy adds what it sees to the end. With fewer entries than proxies, the request came by another way, and what
        # the header says is the client's own word.
        if len(hops) >= proxies and hops != [""]:
            seen = hops[-proxies]
    return _read_address(seen, anonymize=switches.ip == "anonymize")


@lru_cache(maxsize=256)  # a client sends many requests, and reading an address takes longer than all the rest
def _read_address(text: str, *, anonymize: bool) -> str:
    """Return the address that *text* is, with or without a port, in its usual form; "" where it is none."""
    text = text.strip(' \t"')
    if not text or len(text) > _LONGEST_ADDRESS:
        return ""
    if "." in text or "[" in text:
        parts = _PORT.fullmatch(text)
        if parts is not None:
            text = parts[1] or parts[2] or ""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return str(_blur(address)) if anonymize else str(address)


def _blur(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> object:
    kept = 24 if address.version == 4 else 48
    if isinstance(address, ipaddress.IPv6Address) and address.sixtofour is not None:
        kept = 40  # its IPv4 address stands in the bits 16 to 47
    return ipaddress.ip_network((address, kept), strict=False).network_address


def _page(request: Request) -> dict[str, str]:
    page = {"path": _cut(request.path, _LONGEST_URL)}
    host = request.header("host")
    if _HOST.fullmatch(host):
        path = request.path[:_LONGEST_URL]
        if not _PLAIN_PATH.fullmatch(path):
            path = quote(path, safe="/:@!$&'()*+,;=~-._", errors="replace")
        page["url"] = f"{request.scheme}://{host}{path}"[:_LONGEST_URL]
    referrer = _REFERRER.match(request.header("referer"))
    if referrer is not None:
        page["referrer"] = _cut("{}://{}{}".format(*referrer.groups()), _LONGEST_URL)
    return page


def _cut(text: str, longest: int) -> str:
    """Return *text* without what does not belong into a line, and not longer than *longest*."""
    return _CONTROL.sub("", text[:longest])


def _active_span() -> tuple[str, str] | None:
    """Return the ids of the active span, where this process uses OpenTelemetry; importing it is for the application."""
    current = getattr(sys.modules.get("opentelemetry.trace"), "get_current_span", None)
    if current is None:
        return None
    span = current().get_span_context()
    return (f"{span.trace_id:032x}", f"{span.span_id:016x}") if span.is_valid else None


def _sent_span(header: str) -> tuple[str, str] | None:
    """Return the ids in a ``traceparent``, ``None`` where it is none. Versions after 00 may have more at the end."""
    parts = _TRACE_PARENT.fullmatch(header) if len(header) <= 256 else None
    if parts is None or (parts[3] is not None and header.startswith("00")):
        return None
    return parts[1], parts[2]


# -- WSGI and Django keep headers in the same form ---------------------------------------------------------------------------


def header_of_environ(environ: Mapping[str, Any]) -> Callable[[str], str]:
    """Return the function that reads a header of a WSGI request."""

    def header(name: str) -> str:
        value = environ.get("HTTP_" + name.upper().replace("-", "_"), "")
        return _as_utf8(value) if isinstance(value, str) else ""

    return header


def request_of_environ(environ: Mapping[str, Any]) -> Request:
    """Return the request of a WSGI *environ*."""
    return Request(
        header_of_environ(environ),
        environ.get("REMOTE_ADDR") or "",
        environ.get("wsgi.url_scheme", "http"),
        _as_utf8(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")),
    )


def _as_utf8(text: str) -> str:
    """Return what WSGI hands over as Latin-1 as the UTF-8 that it mostly is."""
    if text.isascii():
        return text
    return text.encode("latin-1", "replace").decode("utf-8", "replace")
