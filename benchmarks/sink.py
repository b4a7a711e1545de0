"""
A data plane that only stores what it is sent: as little work per request as Python allows.

Prints its port. ``GET /count`` answers with the number of unique orders stored, and forgets them.
"""

from __future__ import annotations

import asyncio
import re
import zlib

_ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"success":true}'
_ORDER = re.compile(rb'"o-(\d{8})"')
_bodies: list[bytes] = []


def _count() -> int:
    orders: set[bytes] = set()
    for body in _bodies:
        orders.update(_ORDER.findall(zlib.decompress(body, 31) if body[:2] == b"\x1f\x8b" else body))
    _bodies.clear()
    return len(orders)


class Sink(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = bytearray()

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.received[:end]).lower()
            if head.startswith(b"get"):
                found = str(_count()).encode()
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(found), found))
                del self.received[: end + 4]
                continue
            size = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
            if len(self.received) < end + 4 + size:
                return
            _bodies.append(bytes(self.received[end + 4 : end + 4 + size]))
            del self.received[: end + 4 + size]
            self.transport.write(_ANSWER)


async def _main() -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
