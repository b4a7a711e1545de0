"""
The kinds of stores that can keep a queue: one registry, asked by the scheme of the queue's URL.

What a kind does stands in modules of higher layers, and may need a driver. So a kind only *names* these (as
``module:attribute``), and they are imported when a queue of that kind is first used: see ``eventspool._backends.stores``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventspool._config.checks import require_text, split_url
from eventspool._config.redis_opts import RedisOpts
from eventspool._config.redis_url import REDIS_SCHEMES
from eventspool._config.sqlite_opts import read_sqlite_url
from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["REDIS", "StoreKind", "find_kind", "list_urls", "parse_queue_url", "register_store", "title_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreKind:
    """
    One kind of store.

    Args:
        name: Its name for programs, as in the demo's account.
        title: Its name in a sentence, such as "acknowledged as stored in Redis".
        urls: How the URLs of its queues begin: ``redis://``.
        forms: How people write them, for the help of commands: ``redis://HOST:PORT/DB``.
        is_local: Its queues lie on this machine, so that no network can be out: they need no spill file.
        read_url: Returns the options that a URL holds. Raises ``ConfigError`` without repeating the URL, which may hold a
            password.
        store: Names the ``eventspool._backends.stores.Store`` that makes its backends, as ``module:attribute``.
        doctor: Names its part of ``eventspool doctor``, as ``module:attribute``: a function that takes the ``QueueOpts`` and
            returns the findings, and whether the queue itself can be asked.
    """

    name: str
    title: str
    urls: tuple[str, ...]
    forms: tuple[str, ...]
    is_local: bool
    read_url: Callable[[str], object]
    store: str
    doctor: str

    def refuse_replicas(self) -> ConfigError:
        """Return the error that says that its queues are on one machine alone."""
        return ConfigError(f"durability='replicated' needs a queue in Redis: {self.title} has no replicas")


_KINDS: dict[str, StoreKind] = {}
"""The kinds by each of their schemes."""


def register_store(kind: StoreKind) -> None:
    """Let queues be kept by *kind*. Raises ``ConfigError`` where another kind has one of its schemes."""
    schemes = [url.partition(":")[0] for url in kind.urls]
    for scheme in schemes:
        if _KINDS.get(scheme, kind) != kind:
            raise ConfigError(f"{scheme}:// is the scheme of {_KINDS[scheme].name} already")
    _KINDS.update(dict.fromkeys(schemes, kind))


def find_kind(url: str) -> StoreKind:
    """
    Return the kind of store that *url* belongs to.

    Raises:
        ConfigError: The URL is of no known kind. The message does not repeat it, as it may hold a password.
    """
    require_text("queue URL", url)
    kind = _KINDS.get(split_url(url).scheme)
    if kind is None:
        raise ConfigError(f"a queue URL begins with {_join(u for k in _kinds() for u in k.urls)}")
    return kind


def parse_queue_url(url: str) -> object:
    """Return the options of the store that *url* points to. Raises ``ConfigError`` where it is wrong."""
    return find_kind(url).read_url(url)


def list_urls() -> str:
    """Return how people write the URL of a queue, of every kind."""
    return _join(form for kind in _kinds() for form in kind.forms)


def title_of(name: str) -> str:
    """Return the title of the kind *name*."""
    return next(kind.title for kind in _kinds() if kind.name == name)


def _kinds() -> Iterable[StoreKind]:
    return dict.fromkeys(_KINDS.values())  # each once


def _join(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


REDIS = StoreKind(
    name="redis",
    title="Redis",
    urls=tuple(f"{scheme}://" for scheme in REDIS_SCHEMES),
    forms=("redis://HOST:PORT/DB", "unix://PATH"),
    is_local=False,
    read_url=lambda url: RedisOpts(url=url),
    store="eventspool._backends.redis.store:RedisStore",
    doctor="eventspool._doctor.redis_facts:examine_redis",
)
register_store(REDIS)
register_store(
    StoreKind(
        name="sqlite",
        title="an embedded SQLite file",
        urls=("sqlite:///",),
        forms=("sqlite:///PATH",),
        is_local=True,
        read_url=read_sqlite_url,
        store="eventspool._backends.sqlite.store:SQLiteStore",
        doctor="eventspool._doctor.sqlite_facts:examine_sqlite",
    )
)
