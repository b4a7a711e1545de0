"""
uWSGI, which forks its workers in C: what they were promised arrives, once, while they run or at their graceful end.

Unless it is told to, it calls none of Python's fork hooks. So the workers have their master's client, with the buffer,
the connections and the generator of ids of that one, and none of its threads.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.harness import Store, eventually, new_queue_name
from guest import journal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its wheels are for Linux")

PATIENCE = 60.0
FORKS = {
    "past Python": [],
    "with Python's hooks": ["--py-call-uwsgi-fork-hooks"],
    "before the application": ["--lazy-apps"],
}


@pytest.fixture(
    params=[pytest.param(kind, marks=pytest.mark.rotating) for kind in ("memory", "sqlite", "redis")]
)
def store(request, tmp_path):
    """The queue of the workers' client, or none."""
    if request.param == "memory":
        return None
    if request.param == "sqlite":
        return Store("sqlite", f"sqlite:///{tmp_path}/queue.db", new_queue_name())
    return request.getfixturevalue("redis_store")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Server:
    """uWSGI with two workers, on a port of its own."""

    def __init__(self, log: Path, env: dict[str, str], *options: str) -> None:
        self._port, self._stats_port = free_port(), free_port()
        self.log = log
        program = shutil.which("uwsgi", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        assert program, "uWSGI is missing"
        command = [program, "--http-socket", f"127.0.0.1:{self._port}", "--master", "-p", "2"]
        command += [
            "--stats",
            f"127.0.0.1:{self._stats_port}",
            "--enable-threads",
            "--need-app",
            "--die-on-term",
            "--module",
            "guest.uwsgi_app:app",
            *options,
        ]
        env["PYTHONPATH"] = os.pathsep.join([env["PYTHONPATH"], sysconfig.get_path("purelib")])
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )

    def get(self) -> int:
        """Make a request; return the process that answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request("GET", "/")
            return int(connection.getresponse().read())
        finally:
            connection.close()

    def is_up(self) -> bool:
        """Whether it answers; it must not have ended."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            self.get()
        except OSError:
            return False
        return True

    def is_idle(self) -> bool:
        """Whether no worker is busy."""
        with socket.create_connection(("127.0.0.1", self._stats_port)) as sock, sock.makefile() as file:
            return all(worker["status"] == "idle" for worker in json.load(file)["workers"])

    def stop(self) -> None:
        """Ask for a graceful end, and wait for it. A worker that is busy would run none of Python's exit handlers."""
        eventually(self.is_idle, "all requests have ended", timeout=PATIENCE)
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End the master and its workers, where they run, at once."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def serve(plane, store, tmp_path):
    """Start a server whose workers track."""
    servers = []

    def start(*arguments, at_boot="used", until="delivered", **options):
        env = journal.environment(
            plane,
            tmp_path / "journal",
            store and store.opts(is_multi_processor=True),
            GUEST_AT_BOOT=at_boot,
            GUEST_UNTIL=until,
            GUEST_OPTIONS=json.dumps(options),
        )
        server = Server(tmp_path / "log", env, *arguments)
        servers.append(server)
        eventually(server.is_up, "the server answers", timeout=PATIENCE)
        return server

    yield start
    for server in servers:
        server.kill()


def ask_both_workers(server: Server, requests: int) -> None:
    """Make requests, four at a time, until each of two workers has served some, and *requests* at least."""
    served: list[int] = []

    def ask() -> bool:
        served.extend(pool.map(lambda _: server.get(), range(4)))
        return len(served) >= requests and len(set(served)) == 2

    with ThreadPoolExecutor(4) as pool:
        eventually(ask, "both workers serve", timeout=PATIENCE)


@pytest.mark.parametrize("forked", FORKS)
@pytest.mark.parametrize("delivered", ["live", "at the end"])
def test_uwsgis_workers_deliver_what_they_accepted(plane, serve, tmp_path, forked, delivered):
    """The client was used before the fork."""
    server = serve(*FORKS[forked], flush_interval=0.1 if delivered == "live" else 3600.0)
    ask_both_workers(server, 20)
    accepted = journal.read(tmp_path / "journal")
    assert len(set(accepted.values())) == (2 if forked == "before the application" else 3)
    if delivered == "live":
        eventually(lambda: set(plane.unique_ids()) >= accepted.keys(), "they arrive", timeout=PATIENCE)
    server.stop()
    assert "Traceback" not in server.log.read_text()
    journal.assert_once(plane, tmp_path / "journal")


@pytest.mark.parametrize("at_boot", ["used", "made"])
@pytest.mark.parametrize("store", ["sqlite", "redis"], indirect=True)
def test_a_durable_call_in_a_worker_of_uwsgi_is_stored_when_it_returns(serve, store, tmp_path, at_boot):
    options = {"durability": "persisted", "process": False, "timeout": 4 * PATIENCE}
    server = serve(at_boot=at_boot, until="persisted", **options)
    ask_both_workers(
        server, 6
    )  # each answer is waited for, but not for as long as a call that waits until its timeout
    server.kill()
    accepted = journal.read(tmp_path / "journal")
    assert len(accepted) >= 6
    assert len(set(accepted.values())) == (3 if at_boot == "used" else 2)
    assert store.stored_events() == len(accepted)
