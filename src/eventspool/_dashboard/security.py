"""
Which requests are answered, and what a browser may do with the answer. Pure: headers come in, a verdict goes out.

There are three checks, each against one attack:

* the *token*, against other users of the machine and the network;
* the *Host* header, against a page whose own name was made to lead to our address (DNS rebinding);
* *Origin* and *Sec-Fetch-Site*, against a foreign page that has the browser send a request (CSRF).

The page itself turns the content of events into text and nothing else. The content security policy is the second line of
defence: no inline script or style, no other origin, and no string that is parsed as HTML (trusted types).
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "HEADERS",
    "LOOPBACK_HOSTS",
    "Forbidden",
    "candidates",
    "check_host",
    "check_site",
    "cookie_name",
    "is_loopback",
    "new_token",
    "require_token",
]

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
ANY_ADDRESS = "*ip*"
"""Stands in a list of hosts for any literal address. A name can be made to lead to our address, but an address cannot."""
_SHORTEST_TOKEN = 16
_SAFE_METHODS = ("GET", "HEAD")

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""The headers of every answer."""


class Forbidden(Exception):  # noqa: N818 - it says what is the case
    """The request comes from a place that it may not come from."""


def new_token() -> str:
    """Return a token that cannot be guessed: 192 random bits."""
    return secrets.token_urlsafe(24)


def require_token(token: str) -> str:
    """Return *token*. Raises ``ConfigError`` for one that could be guessed or that a header cannot carry."""
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"token must be at least {_SHORTEST_TOKEN} printable ASCII characters without a space"
        )
    return token


def cookie_name(token: str) -> str:
    """Return the cookie's name. It differs by token, because browsers share cookies among all ports of a host."""
    return f"eventspool_{hashlib.sha256(token.encode('utf-8', 'replace')).hexdigest()[:12]}"


def candidates(*, given: str | None, authorization: str | None, cookies: Mapping[str, str]) -> list[str]:
    """Return what may be a token: out of the URL, the ``Authorization`` header and the cookies that bear one."""
    scheme, _, bearer = (authorization or "").partition(" ")
    found = [given, bearer if scheme.lower() == "bearer" else None]
    found += [value for name, value in cookies.items() if name == cookie_name(value)]
    return [each for each in found if each]


def check_host(host: str | None, allowed: Sequence[str]) -> None:
    """Raise ``Forbidden`` unless the ``Host`` header names one of *allowed* (names or addresses, without port)."""
    name = _host_name(host or "")
    if name and (name in allowed or (ANY_ADDRESS in allowed and _is_address(name))):
        return
    raise Forbidden("the dashboard does not answer to this host name; --allow-host adds one")


def check_site(method: str, headers: Mapping[str, str], *, page: bool) -> None:
    """
    Raise ``Forbidden`` for a request that a page of another origin had the browser send.

    Args:
        method: The request's.
        headers: The request's, names in lower case.
        page: The request is for the page, to which a link may lead from anywhere because it changes nothing.
    """
    navigates = page and method in _SAFE_METHODS and headers.get("sec-fetch-mode", "navigate") == "navigate"
    site = headers.get("sec-fetch-site")
    if site not in (None, "none", "same-origin") and not navigates:
        raise Forbidden("a page of another origin asked")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise Forbidden("a page of another origin asked")
    if method in _SAFE_METHODS:
        return
    # A form of a foreign page can send other types without asking first, but never this one.
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Forbidden("what changes something is sent as application/json")
    if origin is None and site is None and "authorization" not in headers:
        raise Forbidden("neither the origin nor an Authorization header says who asks")


def is_loopback(host: str) -> bool:
    """Say whether *host* (a name or an address) can only be reached from this machine."""
    if host.lower() == "localhost":
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


def _host_name(host: str) -> str:
    """Return a ``Host`` header's name in lower case, without port and brackets; "" where it is none."""
    if any(c in host for c in "@/\\?# \t"):
        return ""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
