"""A default client for programs that want one: ``eventspool.init(…)``, then ``eventspool.track(…)`` from anywhere."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from eventspool._client import Client
from eventspool._config.elsewhere import find_elsewhere
from eventspool._config.signature import show_unbound, taking
from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["alias", "close", "flush", "group", "identify", "init", "page", "screen", "stats", "track"]

P = ParamSpec("P")
R = TypeVar("R")

_lock = threading.Lock()
_client: Client | None = None
_kept: tuple[Client, ...] = ()
"""Default clients that ``init`` does not close, for they come back at the end of a test."""


@taking(Client)
def init(*args: Any, **options: Any) -> Client:
    """
    Make the default client and return it. The default client before it, if there was one, is closed.

    The arguments are those of ``Client``.

    Raises:
        ConfigError: An option is unknown or wrong, or was assigned to the module (``eventspool.host = …``).
    """
    global _client
    _refuse_assignments()
    fresh = Client(*args, **options)
    with _lock:
        old, _client = _client, fresh
    if old is not None and old not in _kept:
        old.close()
    return fresh


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Have the present default client be so again at the end of the ``with`` block, and one that is made inside it closed."""
    global _client, _kept  # noqa: PLW0603 - there is one default client
    with _lock:
        before, kept = _client, _kept
        _kept = kept if before is None else (*kept, before)
    try:
        yield
    finally:
        with _lock:
            made, _client, _kept = _client, before, kept
        if made is not None and made is not before:
            made.close()


def current_client() -> Client | None:
    """Return the default client, ``None`` where there is none."""
    return _client


def ensure_client() -> None:
    """Make the default client of the environment's options, where the application has made none and there is a write key."""
    is_there = _client is not None and not _client._beginning.is_closed  # noqa: SLF001 - it is ours
    if not is_there and (write_key := os.environ.get("EVENTSPOOL_WRITE_KEY")):
        init(write_key)


def _default() -> Client:
    client = _client
    if client is None:
        _refuse_assignments()
        raise ConfigError("call eventspool.init() first")
    return client


def _refuse_assignments() -> None:
    """Raise ``ConfigError`` where the program has set options as other SDKs have them set: they would have no effect."""
    package = vars(sys.modules[__name__.partition(".")[0]])
    options = signature(Client).parameters
    assigned = sorted(name for name in package if name in options or find_elsewhere(name) is not None)
    if assigned:
        names = ", ".join(f"eventspool.{name}" for name in assigned)
        raise ConfigError(
            f"{names}: eventspool has no module settings. Give options to eventspool.init(…); or import"
            " eventspool.compat.segment, .rudder or .htevents, which take settings of these SDKs"
        )


def _on_default(method: Callable[Concatenate[Client, P], R]) -> Callable[P, R]:
    """Return *method* of the client that is the default one at the time of the call."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return method(_default(), *args, **kwargs)

    show_unbound(call, method)
    return call


identify = _on_default(Client.identify)
track = _on_default(Client.track)
page = _on_default(Client.page)
screen = _on_default(Client.screen)
group = _on_default(Client.group)
alias = _on_default(Client.alias)
flush = _on_default(Client.flush)
stats = _on_default(Client.stats)


def close(timeout: float = 5.0) -> None:
    """Close the default client, if there is one."""
    if _client is not None:
        _client.close(timeout)
