"""A forward proxy: it tunnels (CONNECT) and forwards plain HTTP, over real sockets, and keeps what it was asked."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit


class ForwardProxy:
    """
    A script for the test server (``serve``).

    Args:
        places: Name -> (host, port): where a name leads to, instead of asking the system.
        login: The ``Proxy-Authorization`` without which everything is answered with 407; "" for none.
        refusal: What is answered to every CONNECT instead of a tunnel.
    """

    def __init__(self, places=None, *, login="", refusal=b""):
        self._places = places or {}
        self._login = login
        self._refusal = refusal
        self.heads = []

    def __call__(self, connection):
        while asked := connection.request():
            head, body = asked
            self.heads.append(head.decode("latin-1"))
            if self._login and f"\r\nProxy-Authorization: {self._login}\r\n" not in f"{self.heads[-1]}\r\n":
                connection.send(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                    b"Proxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
                )
                continue
            method, target, _ = self.heads[-1].split("\r\n")[0].split(" ")
            if method == "CONNECT":
                self._tunnel(connection, urlsplit(f"//{target}"))
                return
            self._forward(connection, urlsplit(target), head, body)

    def _dial(self, parts):
        return socket.create_connection(
            self._places.get(parts.hostname, (parts.hostname, parts.port or 80)), 10.0
        )

    def _tunnel(self, connection, parts):
        if self._refusal:
            connection.send(self._refusal)
            return
        with self._dial(parts) as target:
            connection.send(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n")
            back = threading.Thread(target=_pass_on, args=(target, connection.sock), daemon=True)
            back.start()
            _pass_on(connection.sock, target)
            back.join(10.0)

    def _forward(self, connection, parts, head, body):
        line, _, headers = head.partition(b"\r\n")
        kept = [h for h in headers.split(b"\r\n") if not h.lower().startswith(b"proxy-")]
        method = line.split(b" ")[0]
        request = b"\r\n".join(
            [method + b" " + parts.path.encode() + b" HTTP/1.1", *kept, b"Connection: close", b"", body]
        )
        with self._dial(parts) as target:
            target.sendall(request)
            while data := target.recv(65_536):
                connection.send(data)


def _pass_on(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
