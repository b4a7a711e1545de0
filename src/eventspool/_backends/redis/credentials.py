"""
The user name and the password for the server.

They are asked for anew for each connection, so that a password may change while the process runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventspool._exceptions import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._config import RedisOpts
    from eventspool._config.redis_url import RedisURL

__all__ = ["Credentials", "find_credentials"]

_MOST_BYTES = 64 << 10
"""Tokens of identity providers have a few kilobytes."""


class Credentials:
    """
    What redis-py calls a credential provider.

    Args:
        ask: Returns ``(password,)``, ``(username, password)`` or the password alone.
        origin: What *ask* is, for messages.
        username: The ACL user where *ask* names none; "" for the default one.
        make_error: Makes an error of the driver's class. After any other error the driver would leave a half-opened connection
            in its pool.
    """

    def __init__(
        self, ask: Callable[[], object], origin: str, username: str, make_error: Callable[[str], Exception]
    ) -> None:
        self._ask = ask
        self._origin = origin
        self._username = username
        self._make_error = make_error

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return what redis-py sends as ``AUTH``."""
        failed = ""
        try:
            given = self._ask()
        except Exception as error:  # noqa: BLE001 - the host's own code raised it, and its text may hold the secret
            given, failed = None, type(error).__name__
        if failed:
            raise self._outage(f"{self._origin} failed ({failed})")
        parts = given if isinstance(given, tuple) else (given,)
        if not 1 <= len(parts) <= 2 or not all(isinstance(part, str) for part in parts) or not parts[-1]:
            raise self._outage(f"{self._origin} gave none")
        username, password = (self._username, *parts)[-2:]
        return (username, password) if username else (password,)

    def _outage(self, what: str) -> Exception:
        error = self._make_error("no credentials")
        error.__cause__ = QueueUnavailable(f"it has no password to send: {what}")
        return error


def find_credentials(
    opts: RedisOpts, url: RedisURL | None, make_error: Callable[[str], Exception]
) -> dict[str, Any]:
    """Return the user and the password of *opts*, or how to ask for them, as keyword arguments of redis-py's connections."""
    username = (url.username if url else "") or opts.username or ""
    password = (url.password if url else "") or opts.password
    path = (url.password_file if url else "") or opts.password_file
    provider = opts.credential_provider
    if provider is not None:
        ask, origin = getattr(provider, "get_credentials", provider), "credential_provider"
    elif callable(password):
        ask, origin = password, "the callable password"
    elif path:
        ask, origin = lambda: _read(str(path)), "the password file"
    else:
        return {"username": username or None, "password": password}
    return {"credential_provider": Credentials(ask, origin, username, make_error)}


def _read(path: str) -> str:
    with Path(path).open(encoding="utf-8") as file:
        return file.read(_MOST_BYTES).rstrip("\r\n")
