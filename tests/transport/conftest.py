"""A server that does exactly what a test says, byte by byte, over real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from eventspool._config import ClientOpts
from eventspool._delivery.transport import HTTPTransport

WRITE_KEY = "write-key-that-is-secret"
PATIENCE = 30.0
"""Seconds for what takes none where the machine is not busy."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b'{"ok":true}'


class Connection:
    """One accepted connection, and what came over it."""

    def __init__(self, sock, number, server):
        self.sock = sock
        self.number = number
        self._server = server
        self._unread = b""

    def request(self):
        """Read one request and return (head, body), or ``None`` when the client has gone."""
        while b"\r\n\r\n" not in self._unread:
            if not self._more():
                return None
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        size = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        while len(self._unread) < size:
            if not self._more():
                return None
        body, self._unread = self._unread[:size], self._unread[size:]
        self._server.requests.append((self.number, head, body))
        return head, body

    def _more(self):
        data = self.sock.recv(65_536)
        self._unread += data
        return bool(data)

    def send(self, data):
        self.sock.sendall(data)

    def answer(self, data=OK):
        """Answer every request with *data* until the client goes."""
        while self.request():
            self.send(data)

    def drip(self, data, pause=0.02):
        """Send *data* byte by byte, round and round, until the client or the server goes."""
        while not self._server.stopping.is_set():
            for byte in data:
                self.send(bytes([byte]))
                self._server.stopping.wait(pause)

    def reset(self):
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def wait(self):
        """Do nothing until the client goes or the test ends."""
        self._server.stopping.wait(100.0)


class Server:
    """Hands each connection to *script* on a thread of its own."""

    def __init__(self, script, *, wrap=None, family=socket.AF_INET):
        self._script = script
        self._wrap = wrap
        self.requests = []
        self.connections = []
        self.stopping = threading.Event()
        self._listener = socket.create_server(
            ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family
        )
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                # What a script sends is under way at once: a reset behind it takes back what still waits here.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                thread = threading.Thread(
                    target=self._serve, args=(sock, len(self.connections) + 1), daemon=True
                )
                self.connections.append(sock)
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock, number):
        with contextlib.suppress(OSError, ValueError):
            sock = self._wrap(sock) if self._wrap else sock
            self.connections[number - 1] = sock
            self._script(Connection(sock, number, self))
        with contextlib.suppress(OSError):
            sock.close()

    def close(self):
        self.stopping.set()
        for sock in [self._listener, *self.connections]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(5.0)


@pytest.fixture
def serve():
    """Return a function that starts a server with a script for its connections."""
    with contextlib.ExitStack() as stack:

        def start(script=Connection.answer, **options):
            server = Server(script, **options)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def transport(monkeypatch):
    """Return a function that makes a transport to a URL; no proxy unless the test sets one."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with contextlib.ExitStack() as stack:

        def make(url, *, timeout=PATIENCE, **options):
            opts = ClientOpts(write_key=WRITE_KEY, data_plane_url=url, timeout=timeout, **options)
            transport = HTTPTransport(opts)
            stack.callback(transport.close)
            return transport

        yield make
