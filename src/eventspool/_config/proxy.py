"""
Which proxy is on the way to the data plane. Pure: the environment is an argument.

The environment is read as `requests` and curl read it: ``HTTPS_PROXY`` or ``HTTP_PROXY`` names the proxy, or else
``ALL_PROXY``; the hosts of ``NO_PROXY`` are reached without one. Where the variable in lower case is set, it counts instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import ipaddress
    from collections.abc import Mapping

__all__ = ["Proxy", "bare_host", "find_proxy", "is_bypassed", "parse_proxy", "place"]


@dataclass(frozen=True, slots=True)
class Proxy:
    """
    A proxy that speaks plain HTTP.

    Args:
        host: Its name or address.
        port: Where it listens.
        login: ``user:password``; "" without a login.
    """

    host: str
    port: int
    login: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"http://{place(self.host, self.port)}"


def parse_proxy(url: str) -> Proxy:
    """
    Return the proxy that *url* names; without a scheme it is ``http://``.

    Raises:
        ValueError: It names no proxy, or one of a kind that is not supported. The text never repeats *url*, which may
            hold a password.
    """
    try:
        parts = urlsplit(url.strip() if "://" in url else f"http://{url.strip()}")
        host, port = bare_host(parts.hostname or ""), parts.port
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
        login.encode()
    except ValueError:
        raise ValueError("is no URL") from None
    if parts.scheme != "http":
        kinds = "only http:// is (the URL's scheme is how one speaks to the proxy, not what goes through it)"
        raise ValueError(f"is of a kind that is not supported, {parts.scheme!r}: {kinds}")
    if not host or port == 0 or any(c <= " " for c in host):
        raise ValueError("is no URL")
    return Proxy(host, port or 80, login)


def find_proxy(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    """
    Return the proxy that *environ* names for *scheme*, ``None`` where the way is direct.

    Raises:
        ValueError: What it names cannot be used as a proxy. The text begins with the variable's name.
    """
    if is_bypassed(host, port, _read(environ, "no_proxy")[1]):
        return None
    for variable in (f"{scheme}_proxy", "all_proxy"):
        name, url = _read(environ, variable)
        if url:
            try:
                return parse_proxy(url)
            except ValueError as error:
                raise ValueError(f"the proxy that {name} names {error}") from None
    return None


def _read(environ: Mapping[str, str], variable: str) -> tuple[str, str]:
    """Return the name and the value of *variable*: the one in lower case where it is set, even to nothing."""
    if variable in environ:
        return variable, environ[variable].strip()
    name = variable.upper()
    if name == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
        return name, ""  # under CGI every client on the network can set it, by a header "Proxy"
    return name, environ.get(name, "").strip()


def is_bypassed(host: str, port: int, no_proxy: str) -> bool:
    """
    Say whether *no_proxy* names *host*: ``*``, names (their subdomains, too), addresses, networks such as
    ``10.0.0.0/8``. An entry with a port names that port alone. Commas or spaces separate the entries.
    """
    if not no_proxy:
        return False
    host = host.lower().rstrip(".")
    address = _parse_address(host)
    return any(_names(entry, host, address, port) for entry in no_proxy.lower().replace(",", " ").split())


def _names(
    entry: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int
) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        import ipaddress  # few environments name a network

        try:
            network = ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
        except ValueError:
            return False
        return address is not None and address in network
    name, given = _split_port(entry)
    if given and given != str(port):
        return False
    if address is not None:
        return _parse_address(name) == address
    name = name.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _split_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        name, _, port = entry[1:].partition("]")
        return name, port.removeprefix(":")
    name, _, port = entry.rpartition(":")
    return (name, port) if name and ":" not in name else (entry, "")


def _parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    import ipaddress

    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def bare_host(host: str) -> str:
    """Return the host of a URL with the zone of an address (RFC 6874) as the system wants it: ``fe80::1%eth0``."""
    return host.replace("%25", "%", 1) if ":" in host else host


def place(host: str, port: int | None) -> str:
    """Return ``host:port`` as URLs have it, an IPv6 address in brackets; *port* is ``None`` for the scheme's own."""
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"
