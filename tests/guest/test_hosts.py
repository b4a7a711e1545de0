"""
Process trees of servers and task queues: what their processes were promised arrives, once, after a graceful stop
under load.

Their clients flush by themselves only at every seventh event, so each process's end has to deliver the rest.
"""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.harness import Store, new_queue_name
from eventspool._redis_server import RedisServer
from guest import journal
from guest.servers import PATIENCE, UnixConnection, answers, running, stop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(
    params=[pytest.param(kind, marks=pytest.mark.rotating) for kind in ("memory", "sqlite", "redis")]
)
def store(request, tmp_path):
    """The ``persistence`` of a host's clients."""
    if request.param == "memory":
        return None
    if request.param == "sqlite":
        store = Store("sqlite", f"sqlite:///{tmp_path}/queue.db", new_queue_name())
    else:
        store = request.getfixturevalue("redis_store")
    return store.opts(is_multi_processor=True)


@contextlib.contextmanager
def load(path: Path, book: Path, events: int) -> Iterator[None]:
    """
    Make requests from four threads for as long as the block lasts.

    It begins once *events* were accepted, by two processes that serve.
    """
    deadline = time.monotonic() + PATIENCE
    failures: list[BaseException] = []
    ending = threading.Event()

    def request() -> None:
        while not ending.is_set():
            try:
                with contextlib.closing(UnixConnection(path)) as connection:
                    connection.request("GET", "/")
                    assert connection.getresponse().status == 200
            except (OSError, http.client.HTTPException) as error:
                if answers(path):  # or else the server has stopped, as it was asked to
                    failures.append(error)
                ending.wait(0.01)

    def is_enough() -> bool:
        pids = list(journal.read(book).values())
        return len(pids) >= events and sum(pids.count(pid) > 10 for pid in set(pids)) >= 2

    while not answers(path):
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.02)
    threads = [threading.Thread(target=request) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        while not is_enough():
            assert time.monotonic() < deadline, f"too few requests were served: {journal.read(book)}"
            time.sleep(0.02)
        assert not failures, failures
        yield
    finally:
        ending.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def log(tmp_path):
    """Where a host writes what it has to say."""
    return tmp_path / "log"


@pytest.fixture
def book(tmp_path):
    """The journal."""
    return tmp_path / "journal"


@pytest.fixture
def listen():
    """The path of a Unix socket, which must be short."""
    with tempfile.TemporaryDirectory(prefix="guest-") as folder:
        yield Path(folder) / "http"


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_gunicorns_workers_deliver_what_they_accepted(plane, store, log, book, listen, worker, preload):
    """Two workers. With --preload the client is made, and used, in the parent; gevent then patches under its feet."""
    args = ["--workers", "2", "--worker-class", worker, "--bind", f"unix:{listen}"]
    args += ["--threads", "2"] if worker == "gthread" else []  # which would make gthread of sync, too
    args += ["--preload"] if preload else []
    env = journal.environment(plane, book, store)
    args += ["--no-control-socket", "guest.wsgi_app:app"]
    with running("gunicorn", *args, env=env, log=log) as process, load(listen, book, 60):
        assert stop(process, log) == 0, log.read_text()
    assert f"Using worker: {worker}\n" in log.read_text()
    assert len(set(journal.read(book).values())) == (3 if preload else 2)
    assert "Traceback" not in log.read_text(), log.read_text()
    journal.assert_once(plane, book)


@pytest.mark.parametrize("closed_by", ["lifespan", "sigterm"])
def test_uvicorns_workers_deliver_what_they_accepted(plane, store, log, book, listen, closed_by):
    """Two workers; at their end a closed client sends the rest, also where a signal closes it in the midst of serving."""
    env = journal.environment(plane, book, store, GUEST_CLOSED_BY=closed_by)
    args = ["--workers", "2", "--uds", str(listen), "--log-level", "warning", "guest.asgi_app:app"]
    with running("uvicorn", *args, env=env, log=log) as process, load(listen, book, 60):
        stop(process, log)
    assert len(set(journal.read(book).values())) == 2
    assert "Traceback" not in log.read_text(), log.read_text()
    journal.assert_once(plane, book)


def test_celerys_prefork_workers_deliver_what_they_accepted(plane, store, log, book):
    """Loaded before the fork, used on both sides of it; each worker of the pool is replaced after ten tasks."""
    with RedisServer() as broker:
        address = broker.url.replace("unix://", "redis+socket://", 1)
        env = journal.environment(plane, book, store, GUEST_BROKER=address)
        args = ["-A", "guest.celery_app", "worker", "--pool", "prefork", "--concurrency", "2"]
        args += ["--max-tasks-per-child", "10", "--without-mingle", "--loglevel", "warning"]
        with running("celery", *args, env=env, log=log) as process:
            subprocess.run(
                [sys.executable, "-m", "guest.celery_app", "120"], env=env, check=True, timeout=100
            )
            journal.await_accepted(book, 46)
            assert stop(process, log) == 0, log.read_text()
    assert len(set(journal.read(book).values())) >= 4, "the parent, two workers, and their successors"
    assert "Traceback" not in log.read_text(), log.read_text()
    journal.assert_once(plane, book)
