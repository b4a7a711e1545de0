"""Why a Redis server cannot be reached: makes a clause of ours of what the system, TLS or the driver raised."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["name_kinds", "name_way"]

_DEPTH: Final = 8
"""How many errors of a chain are looked at."""

_CERTIFICATE_CODES: Final = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed: name it, or its authority, in ssl_ca_certs",
    19: "its certificate is of an authority that is not trusted here: name that in ssl_ca_certs",
    20: "its certificate is of an authority that is not trusted here: name that in ssl_ca_certs",
    21: "its certificate is of an authority that is not trusted here: name that in ssl_ca_certs",
    23: "its certificate has been revoked",
    62: "its certificate is for another host name",
    64: "its certificate is for another IP address",
}
_CERTIFICATE_WORDS: Final = (
    ("not yet valid", 9),
    ("expired", 10),
    ("self-signed certificate in certificate chain", 19),
    ("self signed certificate in certificate chain", 19),
    ("self-signed", 18),
    ("self signed", 18),
    ("unable to get local issuer", 20),
    ("unable to verify the first", 21),
    ("revoked", 23),
    ("IP address mismatch", 64),
    ("ostname mismatch", 62),
    ("doesn't match", 62),
)
_TLS_REASONS: Final = (
    (
        ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"),
        "it does not speak TLS: use redis:// without the s",
    ),
    (
        ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE"),
        "it wants a certificate of this client's (ssl_certfile, ssl_keyfile)",
    ),
    (
        ("ALERT_UNKNOWN_CA", "ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE", "ALERT_UNSUPPORTED_CERTIFICATE"),
        "it refuses this client's certificate (ssl_certfile)",
    ),
    (("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"), "it speaks no version of TLS that is accepted here"),
    (("KEY_VALUES_MISMATCH",), "ssl_keyfile is not the key of ssl_certfile"),
    (
        ("NO_CERTIFICATE_OR_CRL_FOUND", "PEM", "NO_START_LINE"),
        "a file of ssl_ca_certs, ssl_certfile or ssl_keyfile is none",
    ),
)
_OF_ERRNO: Final = {
    errno.ECONNREFUSED: "nothing listens there",
    errno.EHOSTUNREACH: "there is no way to that host",
    errno.ENETUNREACH: "there is no way to that network",
    errno.ETIMEDOUT: "no answer came in time",
    errno.EMFILE: "this process has no file descriptor left (ulimit -n)",
    errno.ENFILE: "this machine has no file descriptor left",
    errno.EAFNOSUPPORT: "this machine cannot use addresses of that kind",
    errno.EADDRNOTAVAIL: "this machine has no port or address left for it",
    errno.ENOENT: "there is no such socket",
    errno.ENOTDIR: "there is no such socket",
    errno.ENOTSOCK: "that is no socket",
    errno.EACCES: "this user may not open that socket",
    errno.EPERM: "this machine does not allow it",
}
_CLOSED_ERRNOS: Final = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED)


def name_way(error: BaseException, secure: bool, address: str, outer: BaseException | None = None) -> str:  # noqa: FBT001
    """
    Return the end of a sentence about a server that begins with its name.

    Args:
        error: What the driver raised.
        secure: TLS is used.
        address: Where the server is.
        outer: The exception that our caller was handling when it called. It is no cause of *error*.
    """
    chain = list(_chain(error, outer))
    text = str(error.args[0] if error.args else "")
    if "max number of clients" in text:
        return "cannot be reached: it has as many clients as it takes (maxclients)"
    if "MaxConnectionsError" in name_kinds(error):
        return "cannot be reached: all connections are in use (max_connections)"
    timed_out = any("TimeoutError" in name_kinds(each) for each in chain)
    for each in chain:
        if isinstance(each, ssl.SSLError) and not isinstance(each, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            return f"cannot be reached: {_name_tls(each)}"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"cannot be reached: {_name_certificate(text)}"
    for each in chain:
        if isinstance(each, socket.gaierror):
            return "cannot be reached: there is no address for that host name (DNS)"
        if isinstance(each, OSError) and each.errno in _OF_ERRNO and not timed_out:
            if secure and each.errno in (errno.ENOENT, errno.EACCES, errno.ENOTDIR):
                return "cannot be reached: a file of ssl_ca_certs, ssl_certfile or ssl_keyfile cannot be read"
            return f"cannot be reached: {_OF_ERRNO[each.errno]}"
        if isinstance(each, OSError) and "path too long" in str(each):
            return "cannot be reached: the path of the socket is longer than the system takes; a symbolic link can be shorter"
    if timed_out:
        return _name_timeout(text, secure)
    is_closed = "closed" in text or any(isinstance(e, OSError) and e.errno in _CLOSED_ERRNOS for e in chain)
    if any({"InvalidResponse", "ProtocolError"} & name_kinds(each) for each in chain):
        return f"cannot be reached: what answers there is no Redis server{_hint(secure, address)}"
    if is_closed or any(isinstance(each, ssl.SSLError) for each in chain):
        return f"cannot be reached: the connection was closed{_hint(secure, address)}"
    return "cannot be reached"


def name_kinds(error: BaseException) -> set[str]:
    """Return the names of the classes that *error* is of: a driver's can be told by their names without importing it."""
    return {kind.__name__ for kind in type(error).__mro__}


def _hint(secure: bool, address: str) -> str:  # noqa: FBT001
    """Return what may be wrong where a connection is closed: one side speaks TLS, and the other one does not."""
    if secure:
        return ", or it does not speak TLS (rediss:// is TLS, redis:// is not)"
    return "" if address.startswith("/") else ", or it wants TLS (rediss://)"


def _name_timeout(text: str, secure: bool) -> str:  # noqa: FBT001
    if "connecting" not in text:
        return "did not answer in time"
    if secure:
        return "did not accept a TLS connection in time: is it behind a firewall, or does it not speak TLS (redis://)?"
    return "did not accept a connection in time: is it behind a firewall?"


def _name_tls(error: ssl.SSLError) -> str:
    words = f"{getattr(error, 'reason', '')} {error}"
    if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in words:
        known = _CERTIFICATE_CODES.get(getattr(error, "verify_code", 0) or 0)
        return known or _name_certificate(words)
    for reasons, clause in _TLS_REASONS:
        if any(reason in words.upper() for reason in reasons):
            return clause
    return "TLS could not be agreed on"


def _name_certificate(text: str) -> str:
    for words, code in _CERTIFICATE_WORDS:
        if words in text:
            return _CERTIFICATE_CODES[code]
    return "its certificate cannot be verified (TLS): name its authority in ssl_ca_certs"


def _chain(error: BaseException, outer: BaseException | None) -> Iterator[BaseException]:
    """Yield *error* and the errors behind it, up to the one that our caller was handling."""
    current: BaseException | None = error
    for _ in range(_DEPTH):
        if current is None or current is outer:
            return
        yield current
        current = current.__cause__ or current.__context__
