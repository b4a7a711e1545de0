"""Celery, by the real one: scopes travel with tasks, ids repeat where a task does, and killed workers lose nothing."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from celery import Celery, _state, chain, chord, group
from celery.contrib.testing.worker import start_worker
from celery.signals import (
    before_task_publish,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_process_shutdown,
)

import eventspool
from e2e.fixtures import plane, redis_store, shared_redis, store
from e2e.harness import PATIENCE, eventually
from eventspool import Client, ConfigError, _default
from eventspool._redis_server import RedisServer
from eventspool.integrations import celery as integration
from eventspool.integrations.celery import connect

pytestmark = pytest.mark.rotating("celery", turns=3)

__all__ = ["plane", "redis_store", "shared_redis", "store"]

PROGRAM = Path(__file__).parent / "programs" / "celery_tasks.py"
SIGNALS = (before_task_publish, task_prerun, task_postrun, worker_process_shutdown)


@pytest.fixture
def app():
    """A connected application whose broker is this process's memory."""
    app = Celery("test", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(broker_transport_options={"polling_interval": 0.02}, result_chord_retry_interval=0.05)
    connect(app)
    yield app
    app.close()
    for each in SIGNALS:
        each.disconnect(dispatch_uid="eventspool")


@pytest.fixture
def client():
    with Client("key", data_plane_url="http://127.0.0.1:9") as client:
        yield client


@contextlib.contextmanager
def working(app):
    """Have a worker in a thread of this process run the tasks. What Celery sets up in a worker's process is undone."""

    def keep_logging(**_):
        """Be there: then Celery leaves the process's logging as it is."""

    setup_logging.connect(keep_logging)
    try:
        with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=PATIENCE):
            yield
    finally:
        setup_logging.disconnect(keep_logging)
        logging.captureWarnings(False)
        for name in (
            "CELERY_LOG_LEVEL",
            "CELERY_LOG_FILE",
            "CELERY_LOG_REDIRECT",
            "CELERY_LOG_REDIRECT_LEVEL",
        ):
            os.environ.pop(name, None)
        _state.set_default_app(None)
        _state._set_current_app(None)


def names_of(events):
    return [event["event"] for event in events]


def header_of(**scope):
    """Return what travels with a task that is sent in this scope."""
    headers = {}
    with eventspool.context(**scope):
        integration._send_scope(headers=headers)
    return headers


# -- scopes ------------------------------------------------------------------------------------------------------------


def test_a_task_and_the_tasks_that_it_sends_take_over_the_scope_of_the_request(
    app, client, eventspool_capture
):
    @app.task(bind=True, shared=False)
    def first(self):
        client.track(event="First")
        eventspool.bind(properties={"bound": True})
        if not self.request.retries:
            raise self.retry(countdown=0)
        return 1

    @app.task(shared=False)
    def other(*_):
        client.track(event="Other")

    @app.task(shared=False)
    def last(*_):
        client.track(event="Last")

    with working(app):
        with eventspool.context(user_id="u1", context={"requestId": "r-1"}, properties={"tenant": "acme"}):
            chain(first.si(), other.si(), chord(group(other.si(), other.si()), last.si())).delay()
        eventually(lambda: len(eventspool_capture) == 6, "six events")
        other.delay()
        eventually(lambda: client.stats().refused == {"invalid": 1}, "a task of no request has no user")

    assert names_of(eventspool_capture) == ["First", "First", "Other", "Other", "Other", "Last"]
    for event in eventspool_capture:
        assert (event["userId"], event["context"]["requestId"]) == ("u1", "r-1")
        assert event["properties"]["tenant"] == "acme"
    assert ["bound" in event["properties"] for event in eventspool_capture] == [False] + 5 * [True]
    assert len({event["messageId"] for event in eventspool_capture}) == 6


def test_a_task_that_is_called_eagerly_is_in_the_scope_of_its_caller(app, client, eventspool_capture):
    @app.task(shared=False)
    def inner():
        client.track(event="Inner")
        eventspool.bind(user_id="u2")

    @app.task(bind=True, shared=False)
    def outer(self):
        client.track(event="Outer")
        inner.apply()
        client.track(event="Outer Again")
        if not (self.request.called_directly or self.request.retries):
            raise self.retry(countdown=0)

    app.conf.task_always_eager = True
    with eventspool.context(user_id="u1"):
        outer.delay()
        outer()  # without Celery: a plain function
        assert eventspool.current() == {"user_id": "u1"}

    assert names_of(eventspool_capture) == 3 * ["Outer", "Inner", "Outer Again"]
    assert {event["userId"] for event in eventspool_capture} == {"u1"}
    assert len({event["messageId"] for event in eventspool_capture}) == 9


@pytest.mark.parametrize(
    "error",
    [None, ValueError, SystemExit, KeyboardInterrupt],
    ids=lambda error: getattr(error, "__name__", ""),
)
def test_a_scope_ends_with_its_task_however_that_ends(app, client, eventspool_capture, error):
    @app.task(shared=False)
    def task():
        eventspool.bind(user_id="u2")
        if error is not None:
            raise error

    with contextlib.suppress(SystemExit, KeyboardInterrupt):
        task.apply(headers=header_of(user_id="u1"))

    assert eventspool.current() == {}
    assert integration._entered.get() == ()
    client.track("u1", "After")
    client.track("u1", "After")
    assert len({event["messageId"] for event in eventspool_capture}) == 2


@pytest.mark.parametrize(
    "header",
    [
        None,
        7,
        b"{}",
        "",
        "junk",
        "[]",
        "null",
        "[" * 8000,
        "9" * 8000,
        '{"scope":7,"message":7}',
        '{"message":"\\ud800"}',
        '{"scope":{"user_id":7,"context":[],"properties":"x","unknown":1}}',
        '{"scope":{"context":{"a":' + 500 * "[" + 500 * "]" + "}}}",
        json.dumps({"scope": {"properties": {"text": 10_000 * "x"}}}),
        {"scope": {"user_id": "u9"}},
    ],
    ids=lambda header: repr(header)[:30],
)
def test_a_header_that_is_not_ours_or_damaged_harms_nothing(app, client, eventspool_capture, header):
    @app.task(shared=False)
    def task():
        return client.track("u1", "Worked", {"n": 1})

    message_id = task.apply(headers={"eventspool": header}).get()

    [event] = eventspool_capture
    assert (event["messageId"], event["userId"], event["properties"]) == (message_id, "u1", {"n": 1})


def test_what_ends_the_entering_of_a_scope_leaves_nothing_to_the_next_task(monkeypatch):
    """A time limit, for one."""
    headers = {}
    with eventspool.context(user_id="first"):
        integration._send_scope(headers)
    monkeypatch.setattr(integration.scope, "identifying", Mock(side_effect=TimeoutError))

    integration._enter_scope("id", SimpleNamespace(request=headers))
    integration._leave_scope("id")

    assert eventspool.current() == {}


def test_a_scope_that_is_too_large_to_travel_stays_behind(app, client, eventspool_capture, caplog):
    small, large = header_of(user_id="u1"), header_of(properties={"text": "secret" * 10_000})

    assert len(large["eventspool"]) < len(small["eventspool"])
    assert "too large to travel" in caplog.text
    assert "secret" not in caplog.text

    @app.task(shared=False)
    def task():
        client.track("u1", "Worked")

    task.apply(headers=large)
    assert eventspool_capture[0]["properties"] == {}


# -- message ids -------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(app, client, eventspool_capture):
    """Run some calls as a task, and return the message ids of their events: ``run(calls, **how)``."""

    def run(calls, **how):
        app.tasks.pop("test.task", None)

        @app.task(name="test.task", shared=False)
        def task():
            calls(client)

        before = len(eventspool_capture)
        given = {"task_id": "t-1", "headers": header_of(user_id="u1"), **how}
        task.apply(**given).get()
        return [event["messageId"] for event in eventspool_capture[before:]]

    return run


def everything(client):
    """Make calls of every kind, some of them twice."""
    client.track(event="E", properties={"a": 1, "b": 2})
    client.track(event="E", properties={"a": 1, "b": 2})
    client.track(event="E", properties={"a": 1})
    client.track("u2", "E", {"a": 1})
    client.track(event="E", properties={"a": 1}, context={"ip": "1.2.3.4"})
    client.track(event="E", properties={"a": 1}, timestamp="2026-11-23T17:26:00Z")
    client.track(event="E", properties={"a": 1}, integrations={"all": False})
    client.identify(traits={"a": 1})
    client.page(name="E", properties={"a": 1})
    client.screen(name="E", properties={"a": 1})
    client.group(group_id="E", traits={"a": 1})
    client.alias("a1")


def test_a_message_that_is_delivered_once_more_makes_the_same_ids(run):
    headers = header_of(user_id="u1")
    first, second = run(everything, headers=headers), run(everything, headers=headers)

    assert first == second
    assert len(set(first)) == len(first) == 12


def test_each_other_run_makes_other_ids(run):
    headers = header_of(user_id="u1")
    runs = [
        run(everything, headers=headers),
        run(everything, headers=headers, retries=1),
        run(everything, headers=headers, task_id="t-2"),
        run(
            everything, headers=header_of(user_id="u1")
        ),  # sent once more, with a task id of the sender's own
    ]

    assert len({message_id for ids in runs for message_id in ids}) == 4 * 12


def test_without_a_header_the_ids_are_made_of_the_tasks_own(run):
    def call(client):
        client.track("u1", "E")

    assert run(call, headers=None) == run(call, headers=None)
    assert run(call, headers=None) != run(call, headers=None, task_id="t-2")


def test_an_id_of_the_callers_goes_before(run):
    assert run(lambda client: client.track(event="E", message_id="mine")) == ["mine"]


def test_neither_the_moment_nor_the_version_nor_an_order_of_keys_makes_another_id(run, monkeypatch):
    headers = header_of(user_id="u1")
    first = run(
        lambda client: client.track(event="E", properties={"a": 1, "b": {"c": 2, "d": 3}}), headers=headers
    )
    time.sleep(0.002)

    def call(client):
        monkeypatch.setattr(client._encoder, "_library", {"name": "eventspool", "version": "99"})
        client.track(event="E", properties={"b": {"d": 3, "c": 2}, "a": 1})

    assert run(call, headers=headers) == first


def test_values_that_only_the_exact_encoder_takes_are_told_apart_too(run):
    def call(client):
        for number in (1, 2):
            client.track(event="E", properties={"deep": [{"set": {number, "x"}, "int": 10**5000}]})

    headers = header_of(user_id="u1")
    first = run(call, headers=headers)
    assert len(set(first)) == 2
    assert run(call, headers=headers) == first


def test_a_run_with_very_many_events_is_remembered_within_bounds(run, monkeypatch):
    monkeypatch.setattr(integration, "_MAX_CONTENTS", 3)

    def call(client):
        for number in [*range(10), *range(10)]:
            client.track(event=f"E{number}")

    headers = header_of(user_id="u1")
    first = run(call, headers=headers)
    assert len(set(first)) == 20
    assert run(call, headers=headers) == first


def test_threads_of_a_task_never_make_the_same_id_twice(run):
    def call(client):
        import contextvars

        def track():
            for _ in range(200):
                client.track("u1", "E")

        threads = [threading.Thread(target=contextvars.copy_context().run, args=(track,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(set(run(call))) == 800


def test_a_refused_event_is_refused_as_anywhere(run, client):
    assert run(lambda client: client.track(event="E", properties={"a": object()})) == []
    assert client.stats().refused == {"unencodable": 1}


# -- connecting --------------------------------------------------------------------------------------------------------


def test_connecting_twice_is_connecting_once(app):
    before = [len(each.receivers) for each in SIGNALS]
    connect(app)

    assert [len(each.receivers) for each in SIGNALS] == before


def test_what_is_no_application_is_a_mistake():
    with pytest.raises(ConfigError, match="Celery application, not module"):
        connect(integration)


def test_it_makes_the_default_client_where_the_environment_says_how(app, monkeypatch):
    monkeypatch.setattr(_default, "_client", None)
    monkeypatch.delenv("EVENTSPOOL_WRITE_KEY", raising=False)
    connect(app)
    assert _default.current_client() is None

    monkeypatch.setenv("EVENTSPOOL_WRITE_KEY", "key")
    connect(app)
    made = _default.current_client()
    assert made is not None
    connect(app)
    assert _default.current_client() is made
    made.close()


# -- real workers ------------------------------------------------------------------------------------------------------

TASKS = 12
"""Celery looks for lost processes every five seconds only, so each costs some time."""


@contextlib.contextmanager
def worker(env, log):
    """Run a worker with two processes."""
    command = ["-m", "celery", "-A", "celery_tasks", "worker", "--pool", "prefork", "--concurrency", "2"]
    command += ["--without-mingle", "--without-gossip", "--loglevel", "warning"]
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, *command], env=env, cwd=PROGRAM.parent, stdout=file, stderr=file, process_group=0
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def broker():
    with RedisServer() as server:
        yield server.url.replace("unix://", "redis+socket://", 1)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.rotating("celery workers", kind, seldom=True))
        for kind in ("sqlite", "redis")
    ],
)
def test_killed_workers_lose_no_event_and_a_redelivered_task_repeats_its_ids(
    kind, request, plane, broker, tmp_path
):
    """Every sixth task's process is killed after its last event, then the worker amid two tasks; another one takes over."""
    # What a killed process had claimed is free again while the test still waits for it.
    options = {"is_multi_processor": True, "job_opts": {"visibility_timeout": 2.0}}
    if kind == "sqlite":
        store = {"url": f"sqlite:///{tmp_path}/events.db", **options}
    else:
        store = request.getfixturevalue("redis_store").opts(**options)
    log, book = tmp_path / "log", tmp_path / "book"
    book.mkdir()
    hold = book / "hold"
    hold.touch()
    env = {
        **os.environ,
        "BROKER": broker,
        "BOOK": str(book),
        "CLIENT": json.dumps({"data_plane_url": plane.url, "persistence": store}),
        "WRITE_KEY": plane.write_key,
        "PYTHONWARNINGS": "",
    }
    app = Celery("celery_tasks", broker=broker, set_as_current=False)
    connect(app)
    try:
        for number in range(TASKS):
            with eventspool.context(user_id=f"u{number}", context={"requestId": f"r{number}"}):
                app.send_task("work", [number])
    finally:
        app.close()
        for each in SIGNALS:
            each.disconnect(dispatch_uid="eventspool")

    def done():
        return {int(path.name.split(".")[0]) for path in book.glob("*.done")}

    with worker(env, log):
        eventually(lambda: len(list(book.glob("*.held"))) == 2, "each process holds a task")
    hold.unlink()
    # A worker looks when it starts, and then every 100 seconds, for messages whose holder has vanished a second ago.
    killed_at = time.monotonic()
    eventually(lambda: time.monotonic() > killed_at + 1.2)
    with worker(env, log) as process:
        eventually(lambda: len(done()) == TASKS, "the other half", timeout=2 * PATIENCE)
        process.terminate()
        assert process.wait(PATIENCE) == 0, log.read_text()

    accepted = {line for path in book.glob("*.ids") for line in path.read_text().split()} - {"None"}
    with Client(plane.write_key, data_plane_url=plane.url, persistence=store) as client:
        client.flush()
        assert plane.wait_for(lambda stats: stats.unique >= len(accepted), timeout=PATIENCE)
    events = {event["messageId"]: event for event in plane.events}
    assert accepted <= events.keys(), f"{len(accepted - events.keys())} of {len(accepted)} are lost"
    said = defaultdict(list)
    for event in events.values():
        number = event["properties"]["number"]
        assert (event["userId"], event["context"]["requestId"]) == (f"u{number}", f"r{number}")
        said[number].append((event["event"], event["properties"]["try"]))
    expected = [("Twice", 0), ("Twice", 0), ("Worked", 0)]
    again = [*expected, ("Twice", 1), ("Twice", 1), ("Worked", 1)]
    assert {number: sorted(each) for number, each in said.items()} == {
        number: sorted(again if number % 4 == 1 else expected) for number in range(TASKS)
    }
    assert len(list(book.glob("*.killed"))) == TASKS // 6
