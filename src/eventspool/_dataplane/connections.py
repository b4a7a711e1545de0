"""The connections of a data plane: each has a thread, which answers one request after another."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

from eventspool._dataplane import control
from eventspool._dataplane.exchange import Exchange, Settings, close_politely, json_answer, refusal
from eventspool._dataplane.wire import Head, Refused, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eventspool._dataplane.faults import FaultScript
    from eventspool._dataplane.ledger import Ledger

__all__ = ["Connections"]


class Connections:
    """
    Admits connections, and breaks them.

    Args:
        plane: For the control endpoints.
        settings: What the data plane takes.
        ledger: Counts what arrives.
        stopping: Set when the data plane ends.
        current_script: Returns the fault script, and since when it counts.
        timeouts: Of every connection.
        most: Open at the same time; one more is reset.
    """

    def __init__(
        self,
        plane: control.Controlled,
        settings: Settings,
        ledger: Ledger,
        stopping: threading.Event,
        current_script: Callable[[], tuple[FaultScript, float]],
        *,
        timeouts: Mapping[str, float],
        most: int,
    ) -> None:
        self._plane = plane
        self._settings = settings
        self._ledger = ledger
        self._stopping = stopping
        self._current_script = current_script
        self._timeouts = timeouts
        self._most = most
        self._threads: dict[socket.socket, threading.Thread] = {}
        self._controlling: set[socket.socket] = set()
        self._lock = threading.Lock()

    def admit(self, listener: socket.socket) -> None:
        """Accept a connection, and give it a thread."""
        try:
            sock, address = listener.accept()
        except OSError:
            return
        ordinal = self._ledger.note_connection()
        thread = threading.Thread(
            target=self._converse,
            args=(sock, str(address[0]), ordinal),
            name=f"eventspool-dataplane-{ordinal}",
            daemon=True,
        )
        with self._lock:
            admitted = len(self._threads) < self._most
            if admitted:
                self._threads[sock] = thread
        if admitted:
            thread.start()
        else:
            Wire(sock, **self._timeouts).reset()
            sock.close()

    def break_all(self, *, but_controlling: bool = False) -> None:
        """Reset every connection; with *but_controlling*, leave those alone that a control endpoint answers just now."""
        with self._lock:
            spared = self._controlling if but_controlling else set()
            for sock in self._threads.keys() - spared:
                Wire(sock, **self._timeouts).reset()
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _converse(self, sock: socket.socket, peer: str, ordinal: int) -> None:
        wire = Wire(sock, **self._timeouts)
        exchange = Exchange(wire, ordinal, self._settings, self._ledger, self._stopping)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not self._stopping.is_set():
                head = wire.read_head()
                if head is None or not self._dispatch(exchange, wire, head, peer, sock):
                    return
        except Refused as refused:
            close_politely(wire, refused)
        except OSError:
            return
        finally:
            with self._lock:
                self._threads.pop(sock, None)
                sock.close()

    def _dispatch(self, exchange: Exchange, wire: Wire, head: Head, peer: str, sock: socket.socket) -> bool:
        try:
            if head.path.startswith(control.PREFIX):
                with self._lock:
                    self._controlling.add(sock)
                return control.serve_control(self._plane, wire, head, peer)
            if head.path not in self._settings.paths:
                return _turn_away(wire, Refused(404, f"batches are posted to {self._settings.path}"))
            if head.method != "POST":
                return _turn_away(wire, Refused(405, "batches are posted"), ("Allow", "POST"))
            script, since = self._current_script()
            return exchange.serve(head, script, time.monotonic() - since)
        except (OSError, Refused):
            raise
        except Exception as error:  # noqa: BLE001 - a predicate's bug must not look like a lost connection
            message = f"{type(error).__name__} in the data plane"
            wire.send_answer(json_answer(500, {"ok": False, "message": message}), keep_alive=False)
            return False
        finally:
            with self._lock:
                self._controlling.discard(sock)

    def join(self, timeout: float) -> None:
        """Wait at most *timeout* seconds until the threads have ended."""
        deadline = time.monotonic() + timeout
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def _turn_away(wire: Wire, refused: Refused, *headers: tuple[str, str]) -> bool:
    wire.send_answer(refusal(refused, *headers), keep_alive=False)
    return False
