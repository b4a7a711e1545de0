"""
The witness: an independent process that writes down what producers issue and what was acknowledged to them.

It is never made to fail. A producer says a line before each call and one after it; what it said before it was killed is still
in the socket. The file is append-only, one line each, stamped with the monotonic clock that all processes share:

    TIME b NAME         the process NAME has begun: its interpreter runs and everything is imported
    TIME i ID DIGEST    about to be tracked
    TIME a ID           acknowledged: stored durably
    TIME n ID           the call returned None
    TIME r ID REASON    refused, as reported to on_error
    TIME w NAME         the worker NAME has delivered something, again
    TIME c NAME         the processor in NAME has found the data plane alive again
    TIME s NAME         the client in NAME has begun to use the spill file
    TIME f NAME         a forked child is at work
    TIME e NAME LOST    the producer NAME has closed its client, which reports LOST events lost
    TIME d NAME         a forked child did not end in time
    TIME x NAME STATUS  a forked child ended in another way than by exiting with 0 (negative: by which signal)
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
import threading
import time

__all__ = ["Scribe", "main"]

_QUIET = 0.3
"""Seconds without a word after which a ledger that was told to end does."""


class Scribe:
    """
    One process's way to the ledger. Safe to use from several threads; a forked child makes its own.

    Args:
        path: The ledger's Unix socket.
    """

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._lock = threading.Lock()

    def say(self, kind: str, *words: str) -> None:
        """Write one line; it outlives this process once this returns."""
        self._send(f"{kind} {' '.join(words)}\n")

    def acknowledge(self, ids: list[str]) -> None:
        """Write down that all *ids* were acknowledged."""
        self._send("".join(f"a {message_id}\n" for message_id in ids))

    def close(self) -> None:
        """Say no more."""
        self._socket.close()

    def _send(self, text: str) -> None:
        with self._lock:
            self._socket.sendall(text.encode())


def main(socket_path: str, file_path: str) -> None:
    """Write until the standard input ends and nobody has said anything for a while."""
    file = os.open(file_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(socket_path)
    listener.listen(128)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    rests: dict[socket.socket, bytes] = {}
    ending = False
    os.write(1, b"ready\n")
    while ready := selector.select(_QUIET if ending else None):
        for key, _ in ready:
            if key.fileobj is sys.stdin:
                ending = True
                selector.unregister(sys.stdin)
            elif key.fileobj is listener:
                connection, _ = listener.accept()
                rests[connection] = b""
                selector.register(connection, selectors.EVENT_READ)
            else:
                _hear(key.fileobj, rests, selector, file)
    os.fsync(file)


def _hear(
    connection: socket.socket, rests: dict[socket.socket, bytes], selector: selectors.BaseSelector, file: int
) -> None:
    try:
        data = connection.recv(65_536)
    except OSError:
        data = b""
    if not data:  # a line cut off by a kill was not said
        selector.unregister(connection)
        connection.close()
        del rests[connection]
        return
    *lines, rests[connection] = (rests[connection] + data).split(b"\n")
    stamp = b"%.4f " % time.monotonic()
    os.write(file, b"".join(stamp + line + b"\n" for line in lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
