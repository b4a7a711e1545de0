"""
Whatever is wrong, all tools name it, and the same: `queue status`, `doctor`, readiness, dashboard, log and metric.

Each test plants one fault, and asks every tool an operator has. None may say that all is well.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import http.client
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import redis
import trustme

from cli.conftest import KEY
from eventspool import Client, QueueOpts, open_queue
from eventspool._dashboard.app import create_app
from eventspool._redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.rotating("stories", turns=3)

NAME = "orders"
PATIENCE = 60.0
RIGHT, WRONG = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
SKEWED_PRODUCER = f"""
import socket, sys, time
real = time.time
time.time = lambda: real() + 10_830
time.time_ns = lambda: int(time.time() * 1e9)
socket.gethostname = lambda: "far-away"
from eventspool import Client, QueueOpts
opts = QueueOpts(url=sys.argv[1], queue_name="{NAME}", is_multi_processor=True)
with Client("k", process=False, persistence=opts) as client:
    client.track("u1", "late")
    client.flush(until="persisted", timeout=30)
"""


@dataclass
class Stage:
    """What a fault is planted into."""

    server: RedisServer
    plane: object
    env: dict[str, str]
    tmp_path: object
    port: int = 0
    name: str = NAME
    works: bool = True
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def send(self, events=1, **more):
        opts = QueueOpts(url=self.server.url, queue_name=NAME, is_multi_processor=True, **more)
        with Client(KEY, process=False, persistence=opts) as client:
            for number in range(events):
                client.track("u1", f"e{number}")
                assert client.flush(until="persisted", timeout=PATIENCE).pending == 0

    def tell_server(self, *command):
        with redis.Redis.from_url(self.server.url) as client:
            client.execute_command(*command)


def answer(script):
    def plant(stage):
        stage.plane.script(script)
        stage.send(6)

    return plant


def lose_name(stage):
    stage.env["EVENTSPOOL_DATA_PLANE_URL"] = "http://no-such-host.invalid"
    stage.send(6)


def let_certificate_expire(stage):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(stage.tmp_path / "ca.pem")
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", not_before=now - 9 * day, not_after=now - day).configure_cert(tls)
    listener = stage.stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with contextlib.suppress(OSError), connection:
                    tls.wrap_socket(connection, server_side=True).close()

    threading.Thread(target=serve, daemon=True).start()
    stage.env["EVENTSPOOL_DATA_PLANE_URL"] = f"https://localhost:{listener.getsockname()[1]}"
    stage.env["SSL_CERT_FILE"] = str(stage.tmp_path / "ca.pem")
    stage.send(6)


def fill_server(stage):
    stage.send()
    yield
    stage.tell_server("CONFIG", "SET", "maxmemory", "1")


def make_read_only(stage):
    stage.send()
    yield
    stage.tell_server("REPLICAOF", "127.0.0.1", "9")


def lose_replicas(stage):
    stage.send()
    yield
    stage.tell_server("CONFIG", "SET", "min-replicas-to-write", "1")


def kill_worker(stage):
    stage.works = False
    stage.send()


def give_wrong_key(stage):
    stage.env["EVENTSPOOL_ENCRYPTION_KEY"] = WRONG
    stage.send(3, encryption_key=RIGHT)


def set_clock_wrong(stage):
    command = [sys.executable, "-c", SKEWED_PRODUCER, stage.server.url]
    assert subprocess.run(command, env=stage.env, timeout=PATIENCE).returncode == 0


def misspell_name(stage):
    stage.send()
    stage.name = "order"


FAULTS = {
    "503": (answer("status=503"), "plane.unavailable", 503, "answered 503"),
    "401": (answer("status=401"), "plane.key", 503, "answered 401"),
    "429": (answer("status=429,retry_after=30"), "plane.throttled", 200, "answered 429"),
    "DNS": (lose_name, "plane.dns", 503, "no-such-host.invalid did not resolve"),
    "TLS": (let_certificate_expire, "plane.tls_failed", 503, "certificate has expired"),
    "Redis is full": (fill_server, "queue.full", 200, "out of memory"),
    "Redis is read-only": (make_read_only, "queue.read_only", 503, "read-only replica"),
    "too few replicas": (lose_replicas, "queue.replicas", 503, "too few replicas"),
    "no worker": (kill_worker, "queue.processors", None, "no processor is alive"),
    "encryption key": (give_wrong_key, "encryption.wrong_key", 503, "no key given"),
    "clocks apart": (
        set_clock_wrong,
        "clock.apart",
        200,
        "the clock of far-away, which stores events, is 3 h 0 min ahead",
    ),
    "wrong name": (misspell_name, "queue.missing", 200, "the queues that are: orders"),
}


@pytest.fixture
def stage(plane, tmp_path):
    with RedisServer(aof="everysec") as server, contextlib.ExitStack() as stack:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        env = {"EVENTSPOOL_WRITE_KEY": KEY, "EVENTSPOOL_DATA_PLANE_URL": plane.url}
        yield Stage(server, plane, env, tmp_path, port, stack=stack)


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return None, ""
    finally:
        connection.close()


def look_at_dashboard(stage) -> dict:
    """Ask the page's own endpoint, over ASGI."""
    sent = []

    async def ask(app):
        scope = {
            "type": "http", "method": "GET", "path": "/api/overview", "query_string": b"", "root_path": "",
            "headers": [(b"host", b"localhost")], "scheme": "http", "server": ("localhost", 80), "http_version": "1.1",
        }  # fmt: skip

        async def receive():
            return {"type": "http.request"}

        async def send(message):
            sent.append(message)

        await app(scope, receive, send)

    with open_queue(stage.server.url, stage.name) as queue:
        asyncio.run(ask(create_app(queue, token=None, read_only=True, name=stage.name)))
    return json.loads(b"".join(message.get("body", b"") for message in sent))


def read_troubles(metrics: str) -> list[str]:
    lines = [line for line in metrics.splitlines() if line.startswith("eventspool_queue_trouble{")]
    return [line.split('code="')[1].split('"')[0] for line in lines if line.endswith(" 1.0")]


def ask_all(stage, run, log, port) -> dict[str, tuple[object, str]]:
    """Return what each tool names as wrong, and all that it says."""
    queue = {"EVENTSPOOL_QUEUE": stage.server.url, "EVENTSPOOL_QUEUE_NAME": stage.name}
    status = run("queue", "status", "--json", **queue, **stage.env)
    doctor = run("doctor", "--json", "--interval", "0", **queue, **stage.env)
    exporter = run("metrics", "--once", "--queue", f"{stage.server.url}#{stage.name}", **stage.env)
    page = look_at_dashboard(stage)
    shown = run("queue", "status", **queue, **stage.env).out
    told = {
        "status": ([each["code"] for each in status.json["troubles"]], shown),
        "doctor": ([each["check"] for each in doctor.json["findings"]], doctor.out),
        "exit status of doctor": (doctor.status, ""),
        "dashboard": ([page["verdict"]["code"]], json.dumps(page["verdict"])),
        "exporter": (read_troubles(exporter.out), ""),
    }
    if stage.works:
        ready, body = get(port, "/readyz")
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        told["readiness"] = ([each["code"] for each in json.loads(body)["troubles"]], body)
        told["status of readiness"] = (ready, "")
        told["worker's metrics"] = (read_troubles(get(port, "/metrics")[1]), "")
        told["log"] = ([line.get("code") for line in lines], json.dumps(lines))
    return told


@pytest.mark.parametrize("fault", FAULTS)
def test_every_tool_names_the_same_cause(stage, start, run: Callable, fault):
    plant, code, ready, words = FAULTS[fault]
    steps = plant(stage)
    if steps is not None:
        next(steps)
    log = stage.tmp_path / "worker.log"
    if stage.works:
        arguments = ("worker", "--multi", "-q", stage.server.url, "--queue-name", stage.name)
        with log.open("w") as file:
            start(
                *arguments,
                "--health-port",
                str(stage.port),
                "--log-format",
                "json",
                env=stage.env,
                stderr=file,
            )
        wanted = time.monotonic() + PATIENCE
        while get(stage.port, "/livez")[0] != 200:
            assert time.monotonic() < wanted
            time.sleep(0.05)
    if steps is not None:
        while get(stage.port, "/readyz")[0] != 200:
            assert time.monotonic() < wanted
            time.sleep(0.05)
        next(steps, None)

    deadline = time.monotonic() + PATIENCE
    while missing := find_missing(told := ask_all(stage, run, log, stage.port), code, ready):
        assert time.monotonic() < deadline, (missing, told)
        time.sleep(0.1)
    for tool in {"status", "dashboard", "readiness", "log"} & told.keys():
        assert words.lower() in " ".join(told[tool][1].split()).lower(), (tool, told[tool][1])
    assert "All is well" not in str(told)
    assert json.loads(told["dashboard"][1])["level"] in ("warn", "bad")


def find_missing(told, code, ready) -> list[str]:
    """Return the tools that do not name *code*."""
    missing = [tool for tool, (codes, _) in told.items() if isinstance(codes, list) and code not in codes]
    if told.get("status of readiness", (ready,))[0] != ready:
        missing.append("status of readiness")
    if told["exit status of doctor"][0] != 1:
        missing.append("exit status of doctor")
    return missing
