"""
A connection that never makes its user wait beyond one fixed moment, in whichever direction the bytes are slow.

Every socket here has a timeout of zero: what can be written or read at once is, and ``wait`` waits for the rest. So an
answer is noticed while a request is still being written, and the usual request costs one system call.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - the first lookup of a name would import it, perhaps while another thread forks
import math
import select
import socket
import ssl
import time

__all__ = ["Wire", "dial", "give_until"]

_PIECE = 1 << 16
_LONGEST_POLL = 2**31 - 1
_IN, _OUT = 1, 4
"""``select.POLLIN`` and ``select.POLLOUT``, which Windows and eventlet do not have."""
_BUSY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Wire:
    """
    One connection.

    Args:
        sock: The connected socket. It belongs to the wire from here on.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0.0)
        self.sock = sock
        self.unread = bytearray()
        """What came and was not consumed yet."""
        self.ended = False
        """The other side has closed the connection, or its half of it."""
        self._write_waits_for = _OUT

    def write(self, data: memoryview) -> int:
        """Write what the connection takes now, and return how much that was. Raises ``OSError`` where it is broken."""
        self._write_waits_for = _OUT
        try:
            return self.sock.send(data)
        except ssl.SSLWantReadError:  # TLS has to read something first
            self._write_waits_for = _IN
        except _BUSY:
            pass
        return 0

    def receive(self) -> None:
        """Take in what has come, if anything. Raises ``OSError`` where the connection is broken."""
        try:
            data = self.sock.recv(_PIECE)
        except _BUSY:  # only something of TLS has come, such as a ticket for the next session
            return
        self.unread += data
        self.ended = not data

    def wait(self, deadline: float, *, to_write: bool = False) -> bool:
        """
        Wait until something has come (return whether that is so) or, *to_write*, something can be written.

        Raises:
            TimeoutError: Neither was so by the *deadline*.
        """
        if isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            return True
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            events = _poll(self.sock, _IN | (self._write_waits_for if to_write else 0), remaining)
            if events:
                return events != _OUT

    def is_idle(self) -> bool:
        """Say whether the connection is open, and nothing has come that we did not ask for."""
        if not _poll(self.sock, _IN, 0.0):
            return not self.unread
        try:
            self.receive()
        except OSError:
            return False
        return not (self.unread or self.ended)

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()


def _poll(sock: socket.socket, wanted: int, seconds: float) -> int:
    """Wait for *wanted*; return what of it holds, 0 where nothing does. Trouble with the socket counts as both."""
    if not hasattr(select, "poll"):
        reads, writes, _ = select.select([sock], [sock] if wanted & _OUT else [], [], min(seconds, 1e6))
        return (_IN if reads else 0) | (_OUT if writes else 0)
    poll = select.poll()
    poll.register(sock, (select.POLLIN if wanted & _IN else 0) | (select.POLLOUT if wanted & _OUT else 0))
    found = poll.poll(min(math.ceil(seconds * 1000), _LONGEST_POLL))
    if not found:
        return 0
    events = found[0][1]
    return _OUT if events == select.POLLOUT else _IN | (_OUT if events & select.POLLOUT else 0)


def give_until(sock: socket.socket, deadline: float) -> None:
    """Let the next call on *sock* last until *deadline*. Raises ``TimeoutError`` where that has passed."""
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    sock.settimeout(remaining)


def dial(host: str, port: int, deadline: float) -> socket.socket:
    """
    Return a connection to one of the addresses behind a name.

    The addresses share the time that is left evenly: a dead one that says nothing must not use up the time of the others. An
    address that this machine has no way to (no IPv6 in the kernel, say) is passed over like one that refuses.

    Raises:
        OSError: No address can be reached; this is the most telling error. ``socket.gaierror``: the name has no address.
        UnicodeError: The name cannot be a name.
    """
    failures: list[OSError] = []
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for left, (family, kind, protocol, _name, target) in zip(range(len(found), 0, -1), found, strict=True):
        sock: socket.socket | None = None
        try:
            sock = socket.socket(family, kind, protocol)
            now = time.monotonic()
            give_until(sock, now + (deadline - now) / left)
            sock.connect(target)
            with contextlib.suppress(OSError):  # not every system has this option
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            if sock is not None:
                sock.close()
            failures.append(error)
        else:
            return sock
    telling = (
        ConnectionRefusedError,
        TimeoutError,
    )  # these say that the address was reached, or at least that it did not answer
    raise next((e for e in failures if isinstance(e, telling)), failures[-1] if failures else OSError())
