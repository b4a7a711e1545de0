"""A default client for programs that want one: ``eventspool.init(…)``, then ``eventspool.track(…)`` from anywhere."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from eventspool._client import Client
from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from eventspool._buffering.ledger import FlushResult
    from eventspool._stats import ClientStats

__all__ = ["alias", "close", "flush", "group", "identify", "init", "page", "screen", "stats", "track"]

_lock = threading.Lock()
_client: Client | None = None


def init(write_key: str, **options: Any) -> Client:
    """
    Make the default client and return it. A default client that was there is closed.

    Args:
        write_key: As for ``Client``; so are the *options*.

    Raises:
        ConfigError: An option is unknown or wrong.
    """
    global _client
    fresh = Client(write_key, **options)
    with _lock:
        old, _client = _client, fresh
    if old is not None:
        old.close()
    return fresh


def _default() -> Client:
    client = _client
    if client is None:
        raise ConfigError("call eventspool.init(write_key) first")
    return client


def identify(*args: Any, **kwargs: Any) -> str | None:
    """Call ``Client.identify`` on the default client."""
    return _default().identify(*args, **kwargs)


def track(*args: Any, **kwargs: Any) -> str | None:
    """Call ``Client.track`` on the default client."""
    return _default().track(*args, **kwargs)


def page(*args: Any, **kwargs: Any) -> str | None:
    """Call ``Client.page`` on the default client."""
    return _default().page(*args, **kwargs)


def screen(*args: Any, **kwargs: Any) -> str | None:
    """Call ``Client.screen`` on the default client."""
    return _default().screen(*args, **kwargs)


def group(*args: Any, **kwargs: Any) -> str | None:
    """Call ``Client.group`` on the default client."""
    return _default().group(*args, **kwargs)


def alias(*args: Any, **kwargs: Any) -> str | None:
    """Call ``Client.alias`` on the default client."""
    return _default().alias(*args, **kwargs)


def flush(*args: Any, **kwargs: Any) -> FlushResult | None:
    """Call ``Client.flush`` on the default client."""
    return _default().flush(*args, **kwargs)


def close(timeout: float = 5.0) -> None:
    """Close the default client, where there is one."""
    if _client is not None:
        _client.close(timeout)


def stats() -> ClientStats:
    """Call ``Client.stats`` on the default client."""
    return _default().stats()
