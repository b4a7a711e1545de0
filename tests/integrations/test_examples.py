"""The examples: how little of them is there because of eventspool, and that nothing is lost when their workers are killed."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import eventspool
from e2e.harness import eventually
from eventspool.testing import DataPlane
from guest.servers import PATIENCE, UnixConnection, answers, running, stop, workers_of
from integrations.calling import ask_asgi, ask_wsgi, living, new_environ, new_scope

EXAMPLES = Path(__file__).parents[2] / "examples"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

# -- how much of them is ours ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("folder", "most"), [("django", 6), ("fastapi", 3), ("flask", 2)])
def test_few_lines_are_there_because_of_eventspool(folder, most):
    """All that name it, imports included, but those that make an event."""
    paths = (EXAMPLES / folder).rglob("*.py")
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    ours = [line for line in lines if "eventspool" in line]
    ours = [line for line in ours if not re.search(r"\b(track|identify)\(", line)]

    assert 0 < len(ours) <= most, ours


# -- what their events know ------------------------------------------------------------------------------------------------


def load(folder):
    """Import an example's application."""
    spec = importlib.util.spec_from_file_location(f"example_{folder}", EXAMPLES / folder / "app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def assert_knows_all(event):
    assert event["userId"] == "ada"
    assert event["context"]["ip"] == "203.0.113.9"
    assert event["context"]["userAgent"] == "Mozilla/5.0"
    assert event["context"]["page"]["path"] == "/orders"
    assert event["context"]["requestId"] == "r-1"
    assert event["context"]["traceId"] == TRACE.split("-")[1]


def test_an_event_of_flask_knows_user_and_request(client, eventspool_capture):
    app = load("flask")
    cookie = app.session_interface.get_signing_serializer(app).dumps({"user": "ada"})
    headers = {"user_agent": "Mozilla/5.0", "x_request_id": "r-1", "traceparent": TRACE}
    environ = new_environ(
        "/orders", "POST", b"sku=a", cookie=f"session={cookie}", host="testserver", **headers
    )
    status, body = ask_wsgi(app, environ)

    assert status == "200 OK"
    [event] = eventspool_capture
    assert json.loads(body) == {"event": event["messageId"]}
    assert_knows_all(event)


def test_the_lifespan_and_the_events_of_fastapi(client, eventspool_capture):
    headers = {
        "User-Agent": "Mozilla/5.0",
        "X-Request-ID": "r-1",
        "traceparent": TRACE,
        "Authorization": "Bearer ada",
    }
    more = {"method": "POST", "query_string": b"sku=a", "headers": headers}

    async def serve():
        app = load("fastapi")
        async with living(app):
            status, body = await ask_asgi(app, new_scope(path="/orders", **more))
        return status, json.loads(body)

    status, answer = asyncio.run(serve())
    [event] = eventspool_capture
    assert (status, answer) == (200, {"event": event["messageId"]})
    assert_knows_all(event)
    assert client._beginning.is_closed


# -- their servers, with a worker killed -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """How an example is served, by two workers."""

    folder: str
    module: str
    args: tuple[str, ...]
    paths: tuple[tuple[str, str], ...]
    """Method and path of the requests that track, in turn."""


GUNICORN = ("--workers", "2", "--no-control-socket", "--graceful-timeout", "20", "--bind")
SERVERS = {
    "flask": Server(
        "flask", "gunicorn", ("--threads", "4", *GUNICORN, "unix:{}", "app:app"), (("POST", "/orders"),)
    ),
    "fastapi": Server(
        "fastapi",
        "uvicorn",
        ("--workers", "2", "--log-level", "warning", "--uds", "{}", "app:app"),
        (("POST", "/orders?sku=a"), ("GET", "/products/a")),
    ),
    "django": Server("django", "gunicorn", (*GUNICORN, "unix:{}", "shop.wsgi"), (("GET", "/orders/?sku=a"),)),
    "django-preload": Server(
        "django",
        "gunicorn",
        ("--preload", "--threads", "4", *GUNICORN, "unix:{}", "shop.wsgi"),
        (("GET", "/orders/?sku=a"),),
    ),
    "django-asgi": Server(
        "django",
        "uvicorn",
        ("--workers", "2", "--log-level", "warning", "--uds", "{}", "shop.asgi:application"),
        (("GET", "/orders/?sku=a"), ("GET", "/products/a/")),
    ),
}


@dataclass
class Traffic:
    """What users were answered. Each has a login of its own, and one request at a time."""

    server: Server
    path: Path
    logins: dict[str, dict[str, str]]
    accepted: dict[str, str] = field(default_factory=dict)
    """The user of each event whose id was answered."""
    failures: Counter[str] = field(default_factory=Counter)

    def ask(self, user: str, number: int) -> None:
        """Make one request as *user*."""
        method, path = self.server.paths[number % len(self.server.paths)]
        headers = {**self.logins[user], "Content-Type": "application/x-www-form-urlencoded"}
        try:
            with contextlib.closing(UnixConnection(self.path)) as connection:
                connection.request(method, path, "sku=a" if method == "POST" else None, headers)
                answer = connection.getresponse()
                body = answer.read()
        except (OSError, http.client.HTTPException) as error:  # of the worker that is killed
            self.failures[type(error).__name__] += 1
            return
        if answer.status != 200:
            self.failures[f"{answer.status} {body[:200]!r}"] += 1
            return
        event = json.loads(body)["event"]
        assert event not in self.accepted
        self.accepted[event] = user

    def ask_at_once(self) -> None:
        """Make one request of each user, all at the same time."""
        together = threading.Barrier(len(self.logins))

        def ask(number: int, user: str) -> None:
            together.wait(PATIENCE)
            self.ask(user, number)

        threads = [threading.Thread(target=ask, args=each) for each in enumerate(self.logins)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def await_more(self, count: int) -> None:
        """Wait until *count* more events were accepted."""
        enough = len(self.accepted) + count
        eventually(lambda: len(self.accepted) >= enough, "requests are served")

    @contextlib.contextmanager
    def going_on(self) -> Any:
        """Make requests, four at a time, for as long as the block lasts."""
        ending = threading.Event()
        users = sorted(self.logins)

        def ask(first: int) -> None:
            number = first
            while not ending.is_set():
                self.ask(users[number % len(users)], number // 4)
                number += 4

        threads = [threading.Thread(target=ask, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ending.set()
            for thread in threads:
                thread.join()


@pytest.fixture
def plane():
    """A data plane that keeps all events of a test."""
    with DataPlane(keep_events=1_000_000) as plane:
        yield plane


@pytest.fixture
def listen():
    """The path of a Unix socket, which must be short."""
    with tempfile.TemporaryDirectory(prefix="example-") as folder:
        yield Path(folder) / "http"


def log_in(server, env):
    """Return the headers of 200 users who are logged in."""
    users = [f"user-{number}" for number in range(200)]
    if server.folder == "fastapi":
        return {user: {"Authorization": f"Bearer {user}"} for user in users}
    if server.folder == "flask":
        app = load("flask")
        serializer = app.session_interface.get_signing_serializer(app)
        return {user: {"Cookie": f"session={serializer.dumps({'user': user})}"} for user in users}
    program = Path(__file__).parent / "programs/log_in.py"
    env = {**env, "PYTHONPATH": str(EXAMPLES / "django")}
    made = subprocess.run([sys.executable, program], env=env, check=True, capture_output=True)
    return {user: {"Cookie": cookie} for user, cookie in json.loads(made.stdout).items()}


def environment(plane, tmp_path, **more):
    return {
        **os.environ,
        "EVENTSPOOL_WRITE_KEY": plane.write_key,
        "EVENTSPOOL_DATA_PLANE_URL": plane.url,
        "SHOP_DATABASE": str(tmp_path / "shop.db"),
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "PYTHONWARNINGS": "",  # what the hosts themselves are warned of is not ours to mend
        **more,
    }


@contextlib.contextmanager
def serving(server, env, listen, log):
    """Run *server*. Give it and its traffic, once two workers are there."""
    traffic = Traffic(server, listen, log_in(server, env))
    args = [each.format(listen) for each in server.args]
    with running(server.module, *args, env=env, log=log, folder=EXAMPLES / server.folder) as process:
        eventually(lambda: answers(listen) and len(workers_of(process)) == 2, "the server starts")
        yield process, traffic


@pytest.mark.rotating
@pytest.mark.parametrize("name", SERVERS)
def test_nothing_is_lost_when_a_worker_is_killed_and_no_event_has_another_user(
    name, plane, store, tmp_path, listen, no_client
):
    """Two workers under load. One is killed and replaced; what a user was answered arrives, in that user's name."""
    durable = {
        "EVENTSPOOL_QUEUE": store.url,
        "EVENTSPOOL_QUEUE_NAME": store.queue_name,
        "EVENTSPOOL_MULTI": "1",
        "EVENTSPOOL_VISIBILITY_TIMEOUT": "2",
        "EVENTSPOOL_DURABILITY": "persisted",
    }
    log = tmp_path / "log"
    env = environment(plane, tmp_path, **durable)
    with serving(SERVERS[name], env, listen, log) as (process, traffic):
        traffic.ask_at_once()
        assert not traffic.failures, (traffic.failures, log.read_text())
        with traffic.going_on():
            traffic.await_more(50)
            killed, _ = workers_of(process)
            os.kill(killed, signal.SIGKILL)
            eventually(lambda: len(set(workers_of(process)) - {killed}) == 2, "the worker is replaced")
            traffic.await_more(50)
        stop(process, log)
    assert sum(traffic.failures.values()) <= 10, traffic.failures
    with eventspool.Client(
        plane.write_key, data_plane_url=plane.url, persistence=store.opts(is_multi_processor=True)
    ) as client:
        client.flush(timeout=0.1)  # which has it begin with what the workers have left
        eventually(lambda: store.stored_events() == 0, "the queue is empty")
    assert_all_arrived(plane, traffic)


@pytest.mark.rotating
@pytest.mark.parametrize("name", SERVERS)
def test_a_graceful_stop_delivers_what_is_in_memory(name, plane, tmp_path, listen, no_client):
    """Without a queue, and with a client that sends nothing by itself for as long as the test lasts."""
    lazy = {"EVENTSPOOL_FLUSH_AT": "10000", "EVENTSPOOL_FLUSH_INTERVAL": "3600"}
    log = tmp_path / "log"
    with serving(SERVERS[name], environment(plane, tmp_path, **lazy), listen, log) as (process, traffic):
        traffic.ask_at_once()
        assert not traffic.failures, (traffic.failures, log.read_text())
        assert plane.unique_ids() == []
        stop(process, log)
    assert "Traceback" not in log.read_text(), log.read_text()
    assert_all_arrived(plane, traffic)


def assert_all_arrived(plane, traffic):
    """Compare what has arrived with what was answered."""
    arrived = {event["messageId"]: event["userId"] for event in plane.events}
    missing = traffic.accepted.keys() - arrived.keys()
    assert not missing, f"{len(missing)} of {len(traffic.accepted)} events are lost"
    assert {event: arrived[event] for event in traffic.accepted} == traffic.accepted
    assert set(traffic.accepted.values()) == set(traffic.logins)
