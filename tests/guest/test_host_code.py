"""Code of the host's that we call: callbacks, ``on_error``, log handlers. Called as often as it should be, harmless."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

from e2e.harness import PATIENCE, Calls, eventually, run_python
from eventspool import AsyncClient, Client, RefusedError
from eventspool._guest.log import drain_log


def threads_of_ours():
    """Name the threads of a client but its senders: of these there are as many as requests are due, whoever waits for them."""
    names = (thread.name for thread in threading.enumerate())
    others = ("eventspool-dataplane", "eventspool-sender")
    return [name for name in names if name.startswith("eventspool-") and not name.startswith(others)]


# -- async def ---------------------------------------------------------------------------------------------------------


def test_async_callbacks_run_on_the_event_loop_of_an_async_client(plane):
    loops, ran, all_ran = set(), [], asyncio.Event()

    async def on_error(error, events):
        loops.add(asyncio.get_running_loop())
        ran.append(("on_error", error.reason))

    async def callback(error, message_id):
        await asyncio.sleep(0)
        loops.add(asyncio.get_running_loop())
        ran.append(("callback", error))

    async def flushed(error, result):
        loops.add(asyncio.get_running_loop())
        ran.append(("flush", result.delivered))
        all_ran.set()

    async def work():
        async with AsyncClient(plane.write_key, data_plane_url=plane.url, on_error=on_error) as client:
            assert client.track("u1", "Good", callback=callback)
            assert client.track("u1", "Bad", {"x": object()}) is None
            await client.flush(timeout=PATIENCE)
            client.track("u1", "Good")
            await client.flush(flushed)
            await asyncio.wait_for(all_ran.wait(), PATIENCE)
        return asyncio.get_running_loop()

    loop = asyncio.run(work())
    assert sorted(ran, key=str) == sorted(
        [("on_error", "unencodable"), ("callback", None), ("flush", 1)], key=str
    )
    assert loops == {loop}


def test_async_callbacks_of_a_plain_client_run_off_the_callers_thread(plane):
    ran = Calls()

    async def callback(error, message_id):
        await asyncio.sleep(0)
        ran(error, threading.current_thread().name)

    with Client(plane.write_key, data_plane_url=plane.url) as client:
        client.track("u1", "E", callback=callback)
        client.flush(timeout=PATIENCE)
        assert ran.await_calls(1) == [(None, "eventspool-callbacks")]


def test_an_async_callback_that_raises_is_logged_by_its_type_alone(plane, caplog):
    async def callback(error, message_id):
        raise ValueError("a payload")

    with Client(plane.write_key, data_plane_url=plane.url) as client:
        client.track("u1", "E", callback=callback)
        client.flush(timeout=PATIENCE)
    drain_log(PATIENCE)
    assert "a callback raised ValueError" in caplog.text
    assert "a payload" not in caplog.text


# -- on_error that causes what it is told of -----------------------------------------------------------------------------


@pytest.mark.parametrize("as_async", [False, True])
@pytest.mark.parametrize("case", ["closed", "full", "unencodable"])
def test_a_refusal_that_on_error_causes_is_counted_and_not_told_to_on_error(case, as_async):
    told = []

    def on_error(error, events):
        told.append(error.reason)
        return client.track("system", "Trouble", {"x": object()} if case == "unencodable" else {})

    async def on_error_async(error, events):
        await asyncio.sleep(0)
        on_error(error, events)

    client = Client(
        "key",
        data_plane_url="http://127.0.0.1:9",
        on_error=on_error_async if as_async else on_error,
        max_internal_queue_size=2,
        flush_interval=60.0,
    )
    if case == "closed":
        client.close(0.1)
        client.track("u1", "Late")
    elif case == "full":
        for _ in range(3):
            client.track("u1", "E")
    else:
        client.track("u1", "E", {"x": object()})
    eventually(lambda: sum(client.stats().refused.values()) == 2)
    assert not client._pipe().callbacks.drain(0.5) or told == [case if case != "full" else "buffer_full"]
    assert client.stats().refused == {case if case != "full" else "buffer_full": 2}
    client.close(0.1)


def test_a_refusal_elsewhere_is_still_told_while_on_error_is_at_work():
    """What other threads track meanwhile is nothing that it causes."""
    told, at_work, go_on = Calls(), threading.Event(), threading.Event()

    def on_error(error, events):
        told(error.reason)
        at_work.set()
        go_on.wait(PATIENCE)

    client = Client("key", data_plane_url="http://127.0.0.1:9", on_error=on_error)
    client.track("", "")
    assert at_work.wait(PATIENCE)
    client.track("", "")
    go_on.set()
    told.await_calls(2)
    client.close(0.1)
    assert isinstance(RefusedError("", "closed"), Exception)


# -- nothing is one per call -------------------------------------------------------------------------------------------


def test_flushes_that_wait_with_a_callback_cost_no_thread_each(plane):
    plane.script("outage")
    client = Client(plane.write_key, data_plane_url=plane.url)
    client.track("u1", "E")
    called = Calls()
    client.flush(called, timeout=0.01)
    called.await_calls(1)
    before = len(threads_of_ours())
    for _ in range(100):
        client.track("u1", "E")
        client.flush(called)
    assert len(threads_of_ours()) <= before + 3
    client.close(0.2)
    assert len(called.await_calls(101)) == 101


def test_awaited_flushes_that_are_cancelled_leave_no_thread_and_nobody_waiting(plane):
    plane.script("outage")

    async def work():
        client = AsyncClient(plane.write_key, data_plane_url=plane.url)
        client.track("u1", "E")
        await client.flush(timeout=0.01)
        before = len(threads_of_ours())
        for _ in range(50):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.flush(timeout=30.0), 0.01)
        more = len(threads_of_ours()) - before
        await client.close(0.2)
        return more

    assert asyncio.run(work()) <= 3


def test_closed_clients_leave_no_thread_behind(plane):
    def ours():
        return {thread for thread in threading.enumerate() if thread.name.startswith("eventspool-")}

    before = ours()
    for _ in range(10):
        client = Client(plane.write_key, data_plane_url=plane.url, on_error=lambda error, events: None)
        client.track("u1", "E", callback=lambda error, message_id: None)
        client.flush(lambda error, result: None, timeout=PATIENCE)
        client.close()
    eventually(lambda: not {t for t in ours() - before if "dataplane" not in t.name}, "no thread of ours")


# -- log handlers -----------------------------------------------------------------------------------------------------


@pytest.fixture
def logger():
    """Our logger, with its handlers afterwards as before."""
    logger = logging.getLogger("eventspool")
    before = list(logger.handlers), list(logger.filters)
    yield logger
    logger.handlers[:], logger.filters[:] = before


class Raising(logging.Handler):
    """A handler with a bug, or whose own target is down: every line that is not the host's own makes it raise."""

    def __init__(self):
        super().__init__()
        self.raised = 0

    def handle(self, record):
        self.raised += 1
        raise ConnectionError("the log server is away")


def test_a_log_handler_that_raises_in_an_outage_stops_nothing(plane, clients, tmp_path, logger, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda args: None)  # where Python would show it
    folder = tmp_path / "later"
    folder.write_text("a file where the folder should be")
    handler = Raising()
    logger.addHandler(handler)
    client = clients(persistence=f"sqlite:///{folder}/queue.db")
    called = Calls()
    client.track("u1", "E", callback=lambda *_: 1 / 0)
    client.track("u1", "E", callback=called)
    eventually(lambda: handler.raised, "a line about the outage")
    folder.unlink()
    assert client.flush(timeout=PATIENCE).pending == 0
    called.await_calls(1)
    assert client.stats().delivered == 2


def test_what_a_log_handler_raises_on_the_callers_thread_is_the_callers(clients, logger):
    """It is the host's own, and the refusal is counted all the same."""
    client = clients()
    logger.addHandler(Raising())
    with pytest.raises(ConnectionError):
        client.track("", "")
    assert client.stats().refused == {"invalid": 1}


class Tracking(logging.Handler):
    """Tracks every line of the application's, with its lock held, and waits until it is stored."""

    def __init__(self, client):
        super().__init__()
        self.client = client

    def emit(self, record):
        self.client.track("log", "Line", {"text": record.getMessage()})


def test_a_log_handler_that_tracks_durably_waits_no_longer_than_any_caller(plane, tmp_path):
    """Threads of ours log through the same handler, whose lock its caller holds while it waits for them."""
    client = Client(
        plane.write_key,
        data_plane_url=plane.url,
        persistence=f"unix://{tmp_path}/nobody",
        spill=f"sqlite:///{tmp_path}/spill.db",
        durability="persisted",
        timeout=PATIENCE,
    )
    root, handler = logging.getLogger(), Tracking(client)
    root.addHandler(handler)
    began = time.monotonic()
    try:
        logging.getLogger("application").warning("a line")
        took = time.monotonic() - began
    finally:
        root.removeHandler(handler)
    assert took < PATIENCE / 2  # a second of outage, then the file
    client.close(1.0)


def test_a_handler_that_tracks_while_logging_is_configured_waits_for_none_of_our_lines(plane, tmp_path):
    """The lock of logging is held then; a thread of ours that asked it whether a line is wanted would wait for it."""
    code = """
import logging.config, sys, threading, time
import eventspool
url, key, path = sys.argv[1:]
class Handler(logging.Handler):
    def __init__(self):
        super().__init__()
        self.client = eventspool.Client(key, data_plane_url=url, spill="sqlite:///" + path)
        assert self.client.track("u1", "E")
    def emit(self, record):
        pass
sys.modules["mine"] = sys.modules["__main__"]
config = {"version": 1, "handlers": {"h": {"()": "mine.Handler"}}, "root": {"handlers": ["h"]}}
logging.config.dictConfig(config)
logging.getLogger().handlers[0].client.close(10)
"""
    run_python(code, plane.url, plane.write_key, str(tmp_path / "spill.db"))
    assert plane.stats().unique == 1
