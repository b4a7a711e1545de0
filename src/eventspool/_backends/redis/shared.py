"""What the partitions of a queue share: a client for each server, and the connection that stays out of its pool."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from eventspool._backends.redis.kept import KeptConnection
from eventspool._backends.redis.topology import open_source

if TYPE_CHECKING:
    from eventspool._backends.redis.topology import ClientSource
    from eventspool._config import RedisOpts

__all__ = ["SharedSource"]


class SharedSource:
    """The clients of a queue's partitions, one for each server: made when the first of them is needed."""

    def __init__(self, opts: RedisOpts) -> None:
        self.kept = KeptConnection()
        """One connection to each server: each partition keeping its own would take all that the options allow."""
        self._opts = opts
        self._lock = threading.Lock()
        self._source: ClientSource | None = None

    def client_for(self, key: str) -> Any:
        """Return a client of the server that has *key*."""
        with self._lock:
            if self._source is None:
                self._source = open_source(self._opts)
            source = self._source
        return source.client_for(key)

    def masters(self) -> list[Any]:
        """Return a client of each server that has keys of its own."""
        self.client_for("")
        source = self._source
        return [] if source is None else source.masters()

    def refresh(self, failed: Any = None, *, moved: bool = False) -> None:
        """Forget which server has which key."""
        if (source := self._source) is not None:
            source.refresh(failed, moved=moved)

    def close(self) -> None:
        """Close all clients. The next call makes new ones."""
        with self._lock:
            source, self._source = self._source, None
        if source is not None:
            source.close()

    def abandon(self) -> None:
        """In a forked child: forget the parent's clients without closing them."""
        if self._source is not None:
            self._source.abandon()
        self._lock, self._source = threading.Lock(), None
