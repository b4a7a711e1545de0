"""A dashboard over real HTTP, on a queue with something in it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from dashboard.site import KEY, TOKEN, Site
from eventspool import Client, JobOpts, QueueOpts, open_queue
from eventspool._backends import create_backend
from eventspool._claim import ClaimTerms
from eventspool._envelope import seal
from eventspool._job import Failure, NewJob, Settlement, SettlementKind, new_job_id
from eventspool.integrations.dashboard import create_app
from eventspool.testing import DataPlane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.types import ASGIApp


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
                thread.join(60)
                assert not thread.is_alive()

            stack.callback(stop)
            deadline = time.monotonic() + 60
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
    """Store one job for each list of (event, properties). No processor runs that would deliver it."""

    def enqueue(*batches: list[tuple[str, dict[str, Any]]]) -> None:
        for batch in batches:
            with Client(KEY, process=False, persistence=opts) as client:
                for name, properties in batch:
                    assert client.track("u1", name, properties)
                assert client.flush(until="persisted", timeout=60).pending == 0

    return enqueue


@pytest.fixture
def deliver(opts: QueueOpts, plane: DataPlane) -> Callable[[], None]:
    """Run a processor until every job is delivered or failed."""

    def deliver() -> None:
        with Client(KEY, data_plane_url=plane.url) as client, open_queue(opts.url) as queue:
            client.create_persistence_queue(opts)
            deadline = time.monotonic() + 60
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
def fail(opts: QueueOpts) -> Iterator[Callable[..., list[str]]]:
    """Store one job for each of the events and have it fail for the reason; return the ids."""
    backend = create_backend(opts)
    backend.open()

    def fail(reason: str, *events: bytes) -> list[str]:
        # Ids carry milliseconds, and are to be later than what was done before.
        began = int(1000 * time.time())
        while int(1000 * time.time()) == began:
            time.sleep(0.0002)
        jobs = [NewJob(new_job_id(), seal([event]), 1) for event in events]
        backend.commit(jobs)
        ids = {job.id for job in backend.claim("t", ClaimTerms(limit=len(jobs), visibility_timeout=60)).jobs}
        failure = Failure(reason, "the data plane refused it with 400", 1)
        assert all(backend.settle("t", [Settlement(i, SettlementKind.FAIL, failure=failure) for i in ids]))
        return sorted(ids)

    yield fail
    backend.close()


@pytest.fixture
def site(queue, plane: DataPlane, serve: Callable[[ASGIApp], Site]) -> Site:
    return serve(create_app(queue, token=TOKEN, name="orders", dataplane=plane.url))
