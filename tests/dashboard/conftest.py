"""A dashboard over real HTTP, on a queue with something in it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from eventspool import Client, JobOpts, QueueOpts, open_queue
from eventspool.integrations.dashboard import create_app
from eventspool.testing import DataPlane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.types import ASGIApp

KEY = "canary-write-key"
TOKEN = "canary-token-0123456789"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Site:
    """A dashboard that listens, and how to ask it."""

    port: int
    headers: dict[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {TOKEN}"})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/?token={TOKEN}"

    def get(self, path: str, **headers: str | None) -> Answer:
        return self.ask("GET", path, None, **headers)

    def post(self, path: str, body: Any = None, **headers: str | None) -> Answer:
        return self.ask("POST", path, json.dumps({} if body is None else body), **headers)

    def ask(self, method: str, path: str, body: str | None, **headers: str | None) -> Answer:
        """Send one request; a header given as ``None`` is left out. ``_`` in names stands for a hyphen."""
        sent: dict[str, str | None] = {**self.headers, "Host": f"127.0.0.1:{self.port}"}
        if body is not None:
            sent["Content-Type"] = "application/json"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            data = (body or "").encode()
            if body is not None:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, text)


@pytest.fixture
def serve() -> Iterator[Callable[[ASGIApp], Site]]:
    """Serve an ASGI app on a free port until the test ends."""
    with contextlib.ExitStack() as stack:

        def serve(app: ASGIApp) -> Site:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            server = uvicorn.Server(
                uvicorn.Config(
                    app, log_level="warning", lifespan="off", ws="none", timeout_graceful_shutdown=1
                )
            )
            thread = threading.Thread(target=server.run, args=([listener],))
            thread.start()

            def stop() -> None:
                server.should_exit = True
                thread.join(10)
                assert not thread.is_alive()

            stack.callback(stop)
            deadline = time.monotonic() + 10
            while not server.started:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            return Site(listener.getsockname()[1])

        yield serve


@pytest.fixture
def plane() -> Iterator[DataPlane]:
    with DataPlane(KEY) as plane:
        yield plane


@pytest.fixture
def opts(tmp_path: Path) -> QueueOpts:
    job_opts = JobOpts(max_attempts=2, backoff_initial=0.2, backoff_max=0.4)
    return QueueOpts(url=f"sqlite:///{tmp_path}/queue.db", is_multi_processor=True, job_opts=job_opts)


@pytest.fixture
def queue(opts: QueueOpts):
    with open_queue(opts.url) as queue:
        yield queue


@pytest.fixture
def enqueue(opts: QueueOpts) -> Callable[..., None]:
    """Store one job for each list of (event, properties), for nobody to deliver yet."""

    def enqueue(*batches: list[tuple[str, dict[str, Any]]]) -> None:
        for batch in batches:
            with Client(KEY, process=False, persistence=opts) as client:
                for name, properties in batch:
                    assert client.track("u1", name, properties)
                assert client.flush(until="persisted", timeout=10).pending == 0

    return enqueue


@pytest.fixture
def deliver(opts: QueueOpts, plane: DataPlane) -> Callable[[], None]:
    """Run a processor until every job is delivered or failed."""

    def deliver() -> None:
        with Client(KEY, data_plane_url=plane.url) as client, open_queue(opts.url) as queue:
            client.create_persistence_queue(opts)
            deadline = time.monotonic() + 20
            while (now := queue.stats()).waiting.jobs or now.delayed.jobs or now.leased.jobs:
                assert time.monotonic() < deadline
                time.sleep(0.02)

    return deliver


@pytest.fixture
def failed(enqueue: Callable[..., None], deliver: Callable[[], None], plane: DataPlane, queue) -> list[str]:
    """The ids of two failed jobs: the first was rejected, the second is a 404."""
    plane.script("reject=batch,event=Bad", "status=404")
    enqueue([("Bad", {"a": 1})], [("Lost", {"b": 2}), ("Lost Too", {})])
    deliver()
    plane.script()
    jobs = sorted(queue.jobs("failed"), key=lambda job: job.events)
    assert [job.events for job in jobs] == [1, 2]
    return [job.id for job in jobs]


@pytest.fixture
def site(queue, plane: DataPlane, serve: Callable[[ASGIApp], Site]) -> Site:
    return serve(create_app(queue, token=TOKEN, name="orders", dataplane=plane.url))
