"""
A TCP proxy that breaks what passes through it, as its own process: ``python -m torture.proxy PORT UPSTREAM_PORT SEED``.

It is told what to do by JSON lines on the standard input, one answer each on the standard output: ``{"mode": "latency"}``,
``{"mode": null}`` heals, ``{}`` only asks. An answer holds ``hits``: how often the present mode did its harm; and, since the
proxy's start, ``requests``: messages of clients that were passed on, and ``unreached``: connections for which nobody listened
upstream. Modes:

    refuse      nobody listens, and open connections are reset
    blackhole   nothing passes; what was sent meanwhile passes late, when it is healed, as retransmitted packets do
    reset       the request passes whole; instead of the reply the client gets a reset
    truncate    the reply ends in the middle, in good order (FIN)
    cut         the request ends in the middle, by a reset, on both sides
    slowloris   the reply comes byte by byte
    latency     everything is late
    bandwidth   everything is slow
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import sys
from typing import Any

__all__ = ["MODES", "Proxy", "main"]

MODES = ("refuse", "blackhole", "reset", "truncate", "cut", "slowloris", "latency", "bandwidth")
_ON_REPLIES = ("reset", "truncate", "slowloris")
_SHARE = 0.5
"""Of the messages that a destructive mode meets, so many are hit: the others show what works in between."""
_DRIP_SECONDS = 0.05
_LATENCY_SECONDS = (0.02, 0.4)
_BYTES_PER_SECOND = 4096
_PIECE_BYTES = 256


class _CutError(Exception):
    """The connection ends here."""


class Proxy:
    """
    Listens on 127.0.0.1 and forwards to another port of it.

    Args:
        port: Where to listen; 0 takes a free one, and keeps it.
        upstream: The port to forward to.
        seed: For its dice.
    """

    def __init__(self, port: int, upstream: int, seed: int = 0) -> None:
        self.port = port
        self.upstream = upstream
        self.mode: str | None = None
        self.hits = 0
        self.requests = 0
        self.unreached = 0
        self._dice = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and reset every connection."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for writer in list(self._writers):
            _reset(writer)

    async def set_mode(self, mode: str | None) -> None:
        """Begin *mode*, or heal; hits are counted from now."""
        if mode is not None and mode not in MODES:
            raise ValueError(f"no such mode: {mode}")
        self.hits = 0
        self.mode = mode
        if mode == "blackhole":
            self._open.clear()
        else:
            self._open.set()
        if mode == "refuse":
            self.hits = len(self._writers) // 2
            await self.stop()
        elif self._server is None:
            await self.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            self.unreached += 1
            _reset(writer)
            return
        ends = (writer, up_writer)
        self._writers.update(ends)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, up_writer, ends, is_reply=False))
                pumps.create_task(self._pump(up_reader, writer, ends, is_reply=True))
        except* (OSError, _CutError):
            pass
        finally:
            self._writers.difference_update(ends)
            for end in ends:
                end.close()

    async def _pump(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        *,
        is_reply: bool,
    ) -> None:
        while data := await source.read(65_536):
            if not self._open.is_set():
                self.hits += 1
                await self._open.wait()
            await self._forward(data, target, ends, is_reply=is_reply)
        await self._open.wait()
        with contextlib.suppress(OSError):
            target.write_eof()

    async def _forward(
        self,
        data: bytes,
        target: asyncio.StreamWriter,
        ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        *,
        is_reply: bool,
    ) -> None:
        mode = self.mode
        self.requests += not is_reply
        if mode in ("reset", "truncate", "cut") and self._dice.random() < _SHARE:
            if is_reply == (mode in _ON_REPLIES):
                self.hits += 1
                await self._break(mode, data, target, ends)
        elif mode == "latency":
            self.hits += 1
            await asyncio.sleep(self._dice.uniform(*_LATENCY_SECONDS))
        elif mode == "bandwidth":
            self.hits += 1
            await self._trickle(data, target, _PIECE_BYTES, _PIECE_BYTES / _BYTES_PER_SECOND, mode)
            return
        elif mode == "slowloris" and is_reply:
            self.hits += 1
            await self._trickle(data, target, 1, _DRIP_SECONDS, mode)
            return
        target.write(data)
        await target.drain()

    async def _break(
        self,
        mode: str,
        data: bytes,
        target: asyncio.StreamWriter,
        ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        if mode != "reset":
            target.write(data[: len(data) // 2])
            await target.drain()
        if mode == "truncate":
            for end in ends:
                end.close()
        else:
            for end in ends:
                _reset(end)
        raise _CutError

    async def _trickle(
        self, data: bytes, target: asyncio.StreamWriter, piece_bytes: int, pause: float, mode: str
    ) -> None:
        """Write *data* in pieces; what is left when the mode ends goes at once."""
        at = 0
        while at < len(data) and self.mode == mode:
            target.write(data[at : at + piece_bytes])
            await target.drain()
            at += piece_bytes
            await asyncio.sleep(pause)
        target.write(data[at:])
        await target.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def main(port: int, upstream: int, seed: int) -> None:
    """Serve and obey until the standard input ends."""
    proxy = Proxy(port, upstream, seed)
    await proxy.start()
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    print(json.dumps({"port": proxy.port}), flush=True)
    while line := await orders.readline():
        order: dict[str, Any] = json.loads(line)
        before = proxy.hits
        if "mode" in order:
            await proxy.set_mode(order["mode"])
        counts = {"hits": proxy.hits, "requests": proxy.requests, "unreached": proxy.unreached}
        print(json.dumps({"mode": proxy.mode, "before": before} | counts), flush=True)
    await proxy.stop()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
