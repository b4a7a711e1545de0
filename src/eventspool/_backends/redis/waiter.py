"""Wait for the wake token on a connection of its own, so that another thread can end the wait."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any

from eventspool._backends.redis.errors import find_refusal

__all__ = ["Waiter"]

_POLL = 0.25


class Waiter:
    """
    Waits for the wake token by ``BLPOP``, a slice of time after another, on a connection of its own.

    ``interrupt`` shuts down the socket of that connection, which ends the call at once. Where the driver hides its socket, the
    wait ends with the current slice, which lasts about half the socket timeout. Where the server does not give ``BLPOP``, a
    wait looks at the list every ``_POLL`` seconds.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        """Leads to the server whose token is waited for."""
        timeout = client.connection_pool.connection_kwargs.get("socket_timeout") or 5.0
        # The server must answer before the socket gives up, and may be a tenth of a second late.
        self._slice = max(0.02, min(timeout / 2 - 0.1, 5.0))
        self._pool = client.connection_pool
        self._driver = type(client)
        self._own: Any = None
        self._can_block = True
        self._busy = threading.Lock()
        self._interrupted = threading.Event()

    def wait(self, key: str, timeout: float) -> bool:
        """Return True as soon as *key* yields a token, False after *timeout* seconds or an interrupt."""
        deadline = time.monotonic() + timeout
        with self._busy:
            try:
                while not self._interrupted.is_set():
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return False
                    if self._own is None:
                        self._own = self._driver(connection_pool=self._pool, single_connection_client=True)
                    if self._take(key, left):
                        return True
            except Exception:
                self._drop()
                if not self._interrupted.is_set():
                    raise
            finally:
                if (
                    self._interrupted.is_set()
                ):  # An interrupt between two waits has shut down the socket, too.
                    self._drop()
                self._interrupted.clear()
        return False

    def _take(self, key: str, left: float) -> bool:
        """Wait for one slice of *left* seconds. Return whether there was a token, which is taken."""
        if self._can_block:
            try:
                # A timeout of zero would block for ever, and Redis 6.2 rounds 0.001 down to zero.
                return bool(self._own.blpop([key], timeout=max(0.01, min(left, self._slice))))
            except Exception as error:
                refusal = find_refusal(error)
                if refusal is None or refusal.kind == "keys":
                    raise
                self._can_block = False
        # The list holds at most one token. If this process has deleted the list, it has taken the token.
        if self._own.delete(key):
            return True
        self._interrupted.wait(min(left, _POLL))
        return False

    def interrupt(self) -> None:
        """End the wait under way, or else the next one: a wait that is about to begin must not miss it."""
        self._interrupted.set()
        connection = getattr(self._own, "connection", None)
        sock = getattr(connection, "_sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End a wait and close the connection."""
        self.interrupt()
        with self._busy:
            self._drop()

    def retire(self) -> None:
        """End a wait, which closes the connection then; where there is none, close it. This does not wait for that."""
        self.interrupt()
        if self._busy.acquire(blocking=False):
            try:
                self._drop()
            finally:
                self._busy.release()

    def _drop(self) -> None:
        client, self._own = self._own, None
        connection = getattr(client, "connection", None)
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.disconnect()
        if client is not None:
            with contextlib.suppress(Exception):
                client.close()
