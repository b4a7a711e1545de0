"""
Load for the web application: ``web_load.py SERVER SLICES SECONDS VARIANTS``. Prints one JSON object.

SERVER is ``uvicorn``, ``gunicorn``, ``handler`` or ``trace`` (web_handler.py and web_trace.py: no server at all). VARIANTS is
a JSON object: each name's ``BENCH_WEB`` (see web_app.py); the first tracks nothing. Every variant has a process of its own,
all are up at once, and they take turns in SLICES slices of SECONDS: what the machine does in between, it does to all of them.

The load is open: requests leave on a fixed schedule, evenly spaced, at half of what the first variant can do; those of a
variant whose calls are durable, and wait for the store, at half of what it can do itself. Latency counts from the scheduled
moment: a request that had to wait for an earlier one did wait.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
_CONNECTIONS = 16
_LOAD = 0.5
_SATURATING_RATE = 500
"""Calls of the bare handler for each second that it is to be saturated, more or less."""
_SCRIPTS = {"handler": "web_handler.py", "trace": "web_trace.py"}
_orders = count()


class Connection:
    """One keep-alive connection that sends a request and waits for its answer."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path: str, body: bytes) -> bytes:
        """Return the answer's body. Raises ``RuntimeError`` for any other answer than 200."""
        self._socket.sendall(
            b"POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (path.encode(), len(body), body)
        )
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._receive()
        head = received[:end].lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(head.split(b"\r\n", 1)[0].decode())
        size = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        while len(received) < end + 4 + size:
            received += self._receive()
        return received[end + 4 :]

    def _receive(self) -> bytes:
        data = self._socket.recv(65_536)
        if not data:
            raise RuntimeError("the server closed the connection")
        return data

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class Server:
    """A server process with the application, the connections to it, and what its slices showed."""

    def __init__(self, kind: str, options: dict[str, Any]) -> None:
        self.connections: list[Connection] = []
        self.orders: list[int] = []
        self.slices: list[dict[str, float]] = []
        port = _free_port()
        paths = os.pathsep.join([str(HERE), os.environ["PYTHONPATH"]])
        environment = {**os.environ, "BENCH_WEB": json.dumps(options), "PYTHONPATH": paths}
        self._process = subprocess.Popen(_command(kind, port), env=environment, stdout=subprocess.DEVNULL)
        try:
            self._wait_for(port)
            for _ in range(_CONNECTIONS):
                # One by one: gunicorn's threads wait for the first request of a new connection.
                self.connections.append(Connection(port))
                self.connections[-1].post("/", _cart(self.next_order()))
        except BaseException:
            self.stop()
            raise

    def _wait_for(self, port: int) -> None:
        deadline = time.monotonic() + 30
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                return
            time.sleep(0.02)
        raise RuntimeError("the server did not start")

    def next_order(self) -> int:
        """Return a number that no order of any server has."""
        order = next(_orders)
        self.orders.append(order)
        return order

    def saturate(self, seconds: float) -> float:
        """Keep four connections busy. Return the requests answered per second."""
        begin = time.perf_counter()
        answered: list[int] = []

        def work(connection: Connection) -> None:
            done = 0
            while time.perf_counter() - begin < seconds:
                connection.post("/", _cart(self.next_order()))
                done += 1
            answered.append(done)

        _in_threads(self.connections[:4], work)
        return sum(answered) / (time.perf_counter() - begin)

    def send_on_schedule(self, rate: float, seconds: float) -> list[float]:
        """Send *rate* requests a second, each on whichever connection is free first. Return their latencies in ms, sorted."""
        carts = [_cart(self.next_order()) for _ in range(int(rate * seconds))]
        turn = count()
        latencies: list[float] = []
        begin = time.perf_counter() + 0.05

        def work(connection: Connection) -> None:
            while (number := next(turn)) < len(carts):
                moment = begin + number / rate
                wait = moment - time.perf_counter()
                if wait > 0:
                    time.sleep(wait)
                connection.post("/", carts[number])
                latencies.append((time.perf_counter() - moment) * 1000)

        _in_threads(self.connections, work)
        return sorted(latencies)

    def flush(self) -> dict[str, float]:
        """Wait until its events are delivered: they shall not burden the next one's turn. Return what it has used so far."""
        used: dict[str, float] = json.loads(self.connections[0].post("/flush", b"{}"))
        return used

    def stop(self) -> None:
        """End the process as a deployment would."""
        for connection in self.connections:
            connection.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Handler:
    """A process that calls the application's handler itself: the noise of servers and sockets stays out."""

    def __init__(self, script: str, options: dict[str, Any]) -> None:
        self.parts: dict[str, float] = {}
        self.orders: list[int] = []
        self.slices: list[dict[str, float]] = []
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / script)],
            env={**os.environ, "BENCH_WEB": json.dumps(options)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def saturate(self, seconds: float) -> float:
        """Call one after another. Return the calls per second."""
        found = self._ask(carts=self._carts(int(_SATURATING_RATE * seconds)), rate=None)
        return len(found["latencies"]) / float(found["seconds"])

    def send_on_schedule(self, rate: float, seconds: float) -> list[float]:
        """Call the handler *rate* times a second. Return the latencies in ms, sorted."""
        found = self._ask(carts=self._carts(int(rate * seconds)), rate=rate)
        self.parts = found.get("parts", {})
        return sorted(found["latencies"])

    def flush(self) -> dict[str, float]:
        """Wait until its events are delivered. Return what it has used so far."""
        return self._ask(flush=True)

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()

    def _carts(self, number: int) -> list[str]:
        orders = list(islice(_orders, number))
        self.orders += orders
        return [_cart(order).decode() for order in orders]

    def _ask(self, **question: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def _command(kind: str, port: int) -> list[str]:
    start = [sys.executable, "-m", kind]
    if kind == "uvicorn":
        return [
            *start,
            "web_app:asgi",
            "--port",
            str(port),
            "--log-level",
            "warning",
            "--timeout-keep-alive",
            "300",
        ]
    options = [
        "--worker-class",
        "gthread",
        "--workers",
        "1",
        "--threads",
        "4",
        "--keep-alive",
        "300",
        "--graceful-timeout",
        "1",
    ]
    return [
        *start,
        "web_app:wsgi",
        "--bind",
        f"127.0.0.1:{port}",
        "--log-level",
        "warning",
        "--no-control-socket",
        *options,
    ]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _cart(order: int) -> bytes:
    lines = [{"sku": f"A-{(order * 7 + n * 13) % 500}", "quantity": 1 + n % 4} for n in range(400)]
    return json.dumps({"order": order, "lines": lines}).encode()


def _in_threads(connections: Sequence[Connection], work: Any) -> None:
    """Run ``work(connection)`` in a thread for each of *connections*. Raises what one of them raised."""
    errors: list[BaseException] = []

    def run(connection: Connection) -> None:
        try:
            work(connection)
        except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def run_slice(server: Server | Handler, rate: float, seconds: float) -> dict[str, float]:
    """Load *server* for *seconds* and return what one slice shows."""
    before = server.flush()
    latencies = server.send_on_schedule(rate, seconds)
    after = server.flush()
    requests = len(latencies)
    return {
        "requests": requests,
        "p50_ms": latencies[requests // 2],
        "p99_ms": latencies[int(requests * 0.99)],
        "cpu_ms": (after["cpu_seconds"] - before["cpu_seconds"]) / requests * 1000,
        "full_collections": after["full_collections"] - before["full_collections"],
        **(server.parts if isinstance(server, Handler) else {}),
    }


def main(kind: str, slices: int, seconds: float, variants: dict[str, dict[str, Any]]) -> None:
    """Measure and print."""
    with contextlib.ExitStack() as stack:
        servers: dict[str, Server | Handler] = {}
        for name, options in variants.items():
            script = _SCRIPTS.get(kind)
            servers[name] = Handler(script, options) if script else Server(kind, options)
            stack.callback(servers[name].stop)
        for server in servers.values():
            server.saturate(min(seconds, 1.0))
            server.flush()
        names = list(servers)
        maximum = servers[names[0]].saturate(seconds)
        servers[names[0]].flush()
        rates = dict.fromkeys(names, maximum * _LOAD)
        for name in names:
            if variants[name].get("durable"):
                rates[name] = min(servers[name].saturate(seconds), maximum) * _LOAD
                servers[name].flush()
        for turn in range(slices):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                servers[name].slices.append(run_slice(servers[name], rates[name], seconds))
    found = {name: {"slices": server.slices, "orders": server.orders} for name, server in servers.items()}
    print(json.dumps({"rates": rates, "variants": found}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), json.loads(sys.argv[4]))
