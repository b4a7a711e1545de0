"""The end of a client and of its process: what is closed in time, what is delivered, what is kept, what is given back."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from e2e.harness import (
    PATIENCE,
    SLACK,
    Calls,
    Store,
    eventually,
    new_queue_name,
    run_python,
    unexpected_lines,
)
from eventspool import AsyncClient
from eventspool._guest.log import drain_log
from lasting_threads import lasting_threads

BLACK_HOLE = {"hang": 60}
PROGRAM = Path(__file__).parent / "programs/ending.py"


def arguments(plane, store, story, **told):
    """Return the arguments that have the program play *story*, which is *told* the rest."""
    words = json.dumps({"name": story, **told})
    return [words, plane.url, plane.write_key, *((store.url, store.queue_name) if store else ())]


def play(plane, story, store=None, *, check=True, **told):
    """Play *story*; return the result and how long it took."""
    began = time.monotonic()
    result = run_python(PROGRAM, *arguments(plane, store, story, **told), check=check)
    return result, time.monotonic() - began


# -- close -------------------------------------------------------------------------------------------------------------


def test_close_delivers_what_is_left(clients, plane, store):
    """No flush is needed before a close, whatever flush_at and flush_interval are."""
    client = clients(persistence=store.opts(), flush_interval=3600.0, flush_at=10_000)
    ids = [client.track("u1", "E", {"n": n}) for n in range(50)]
    client.close(timeout=PATIENCE)
    assert plane.unique_ids() == ids
    assert client.stats().delivered == 50


@pytest.mark.alone
def test_close_twice_is_harmless(clients, plane):
    """The second call returns at once and settles nothing twice."""
    client, callback = clients(), Calls()
    client.track("u1", "E", callback=callback)
    client.close(timeout=PATIENCE)
    began = time.monotonic()
    client.close(timeout=PATIENCE)
    assert time.monotonic() - began < SLACK
    callback.await_calls(1)
    assert plane.stats().events == 1


def test_close_of_an_unused_client_starts_nothing():
    """Constructed, never used, closed: no thread, no error."""
    from eventspool import Client

    before = lasting_threads()
    Client("key").close()
    with Client("key"):
        pass
    assert lasting_threads() <= before


def test_close_from_two_threads_is_harmless(clients, plane):
    """A web framework and atexit may both close."""
    client = clients()
    for n in range(20):
        client.track("u1", "E", {"n": n})
    closers = [threading.Thread(target=client.close) for _ in range(4)]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join(PATIENCE)
    assert eventually(lambda: client.stats().delivered == 20)
    assert client.stats().lost == 0


@pytest.mark.parametrize("timeout", [0.0, 0.5, 1.5])
def test_close_with_a_black_holed_data_plane_keeps_its_timeout_and_the_events(clients, plane, store, timeout):
    """It returns in time, every event stays in the queue, and leases are given back: another client has them at once."""
    plane.script(BLACK_HOLE)
    opts = store.opts(is_multi_processor=True, job_opts={"visibility_timeout": 60.0})
    client = clients(persistence=opts, flush_at=5)
    ids = [client.track("u1", "E", {"n": n}) for n in range(20)]
    client.flush(until="persisted")
    eventually(lambda: plane.stats().connections >= 1, "a request is under way")
    eventually(lambda: client.stats().in_flight)
    began = time.monotonic()
    client.close(timeout=timeout)
    assert time.monotonic() - began < timeout + SLACK
    stats = client.stats()
    assert (stats.persisted, stats.delivered, stats.lost) == (20, 0, 0)
    if timeout:
        assert store.leased_jobs() == 0
        plane.script()
        began = time.monotonic()
        clients(persistence=opts).flush()
        assert plane.wait_for(20, timeout=PATIENCE)
        assert time.monotonic() - began < 30.0, "nobody waited for a lease of 60 s"
        assert set(plane.unique_ids()) == set(ids)


@pytest.mark.alone
def test_close_without_persistence_reports_what_is_lost(clients, plane, caplog):
    """By count, to the log, to on_error, and to every callback."""
    plane.script(BLACK_HOLE)
    callback, on_error = Calls(), Calls()
    client = clients(on_error=on_error)
    ids = [client.track("u1", "E", callback=callback) for _ in range(7)]
    began = time.monotonic()
    client.close(timeout=0.5)
    assert time.monotonic() - began < 0.5 + SLACK
    assert client.stats().lost == 7
    drain_log(PATIENCE)
    assert "7 events are lost" in caplog.text
    assert {error.reason for error, _ in callback.await_calls(7)} == {"lost"}
    assert set(callback.outcomes()) == set(ids)
    assert sum("7 events are lost" in str(error) for error, _ in on_error.await_calls(1)) == 1


def test_close_keeps_its_timeout_while_on_error_hangs(clients, plane):
    plane.script(BLACK_HOLE)
    hold = threading.Event()
    client = clients(on_error=lambda error, events: hold.wait(PATIENCE))
    client.track("u1", "E")
    client.track("u1", None)
    began = time.monotonic()
    client.close(timeout=0.3)
    took = time.monotonic() - began
    hold.set()
    assert took < 0.3 + SLACK


@pytest.mark.parametrize("timeout", [float("inf"), 1e10, 1e300])
def test_a_timeout_may_be_longer_than_a_thread_can_wait(clients, plane, timeout):
    """It is no limit then: nothing is raised, nothing is skipped."""
    client, callback = clients(), Calls()
    client.track("u1", "E")
    assert client.flush(timeout=timeout).pending == 0
    client.flush(until="persisted", timeout=timeout)
    client.flush(callback, timeout=timeout)
    assert callback.await_calls(1)[0][0] is None
    client.track("u1", "E")
    client.close(timeout=timeout)
    assert client.stats().delivered == 2


def test_nor_does_an_awaited_one_raise(plane):
    async def work():
        client = AsyncClient(plane.write_key, data_plane_url=plane.url)
        client.track("u1", "E")
        result = await client.flush(timeout=float("inf"))
        client.track("u1", "E")
        await client.close(timeout=float("inf"))
        return result.pending, client.stats().delivered

    assert asyncio.run(work()) == (0, 2)


def test_flush_after_a_close_returns_at_once(clients, plane, store):
    """Nothing will be settled any more, so nothing is waited for."""
    plane.script("outage")
    client = clients(persistence=store.opts())
    client.track("u1", "E")
    client.close(timeout=0.4)
    assert client.flush().pending == 1
    assert client.flush(until="persisted").pending == 0
    client.flush(callback := Calls())
    [(error, result)] = callback.await_calls(1)
    assert (error, result.pending) == (None, 1)


def test_events_after_close_are_refused_not_raised(clients, plane):
    """Also from a client that never started."""
    refusals = Calls()
    used, unused = clients(on_error=refusals), clients(on_error=refusals)
    used.track("u1", "E")
    for client in (used, unused):
        client.close()
        assert client.track("u1", "E") is None
        assert client.track("u1", "E", callback=lambda *_: None) is None
        assert client.stats().refused == {"closed": 2}
    assert {error.reason for error, _ in refusals.await_calls(4)} == {"closed"}
    assert plane.stats().unique == 1


def test_a_closed_client_leaves_no_thread_behind(plane, clients, store):
    """Threads end with their client, but for the one that runs the host's callbacks, which sleeps."""
    before = lasting_threads()
    client = clients(persistence=store.opts())
    client.track("u1", "E")
    client.flush(timeout=PATIENCE)
    assert {t.name.rsplit("-", 1)[0] for t in lasting_threads() - before} >= {"eventspool"}
    client.close()

    def left():
        ours = lasting_threads() - before
        return [t.name for t in ours if "dataplane" not in t.name and "callbacks" not in t.name]

    eventually(lambda: not left(), "the client's threads end")


# -- no threads before there is anything to do -----------------------------------------------------------------------


def test_there_is_no_thread_at_import_nor_before_the_first_event(plane):
    """Importing and constructing cost nothing and are safe before a fork."""
    play(plane, "no_threads_before_the_first_event")
    assert plane.stats().unique == 1


# -- the end of the process -------------------------------------------------------------------------------------------

EXITS = ["the last line", "sys.exit", "an exception", "another thread's end"]
IN_TIME = 15.0
"""Seconds for an interpreter's start, and the five of an exit. What the exit must not wait for takes much longer."""


@pytest.mark.parametrize("ending", EXITS)
@pytest.mark.parametrize("persistence", ["memory", "sqlite", "redis"])
def test_events_are_delivered_at_exit(plane, request, tmp_path, persistence, ending):
    """Nothing was called: the interpreter's exit delivers what is in memory, however it came about."""
    store = _store(request, tmp_path, persistence)
    result, _ = play(plane, "events_at_exit", store, check=False, ending=ending)
    assert result.returncode == {"sys.exit": 3, "an exception": 1}.get(ending, 0), result.stderr
    assert ("ValueError: boom" in result.stderr) is (ending == "an exception")
    assert plane.stats().unique == (35 if ending.startswith("another") else 30), result.stderr


def test_a_client_that_the_host_has_dropped_is_closed_at_exit_all_the_same(plane):
    """A client made in a function and forgotten there still holds events."""
    play(plane, "a_client_that_was_dropped")
    assert plane.stats().unique == 1


def test_every_client_is_closed_at_an_exit_that_grants_no_thread(plane):
    """As Python 3.12 does: its exit handlers can start none. Each client still delivers what it holds."""
    result, _ = play(plane, "no_thread_at_exit")
    assert plane.stats().unique == 3
    assert (result.stdout, result.stderr) == ("called None\n" * 3, "")


def test_a_client_whose_closing_fails_does_not_keep_the_others_from_it(plane):
    result, _ = play(plane, "a_closing_that_fails")
    assert plane.stats().unique == 2
    assert result.stderr == (
        "closing a client met ZeroDivisionError\n"
        "1 events are lost: the client closed before they were stored or delivered\n"
    )


@pytest.mark.alone
@pytest.mark.rotating
@pytest.mark.parametrize("persistence", ["memory", "sqlite", "redis"])
def test_exit_with_a_black_holed_data_plane_ends_in_time(plane, request, tmp_path, persistence):
    """And a durable event stays in the queue."""
    plane.script(BLACK_HOLE)
    store = _store(request, tmp_path, persistence)
    _result, took = play(plane, "an_event_in_vain", store)
    assert took < IN_TIME
    if store:
        assert store.stored_events() == 1
        assert store.leased_jobs() == 0


@pytest.mark.alone
def test_exit_with_an_unreachable_redis_ends_in_time(plane, tmp_path):
    """What only memory holds is reported, not waited for."""
    store = Store("redis", f"unix://{tmp_path}/nobody", new_queue_name())
    result, took = play(plane, "ten_events", store)
    assert took < IN_TIME
    assert "10 events are lost" in result.stderr


def test_events_from_exit_handlers_are_delivered_or_refused_never_raised(plane):
    """Handlers that run before ours still count; those that run after it are told so. None raises, none loses silently."""
    result, _ = play(plane, "exit_handlers")
    assert result.stdout.split("\n")[:2] == ["early True", "late None None None"]
    assert set(result.stderr.splitlines()) == {REFUSED}
    assert plane.stats().unique == 2


# -- SIGTERM ----------------------------------------------------------------------------------------------------------

REFUSED = "refused an event (closed): the client is closed"
"""What the standard error says of it where nobody has set up logging."""


def _terminate(plane, story, store=None, *, handled=True):
    """Play *story*, send SIGTERM once it has delivered, and return the exit status and the ids it printed."""
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), *arguments(plane, store, story, handled=handled)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        drain = threading.Thread(target=lambda: out.append(process.stdout.read()))
        out: list[str] = []
        drain.start()
        assert plane.wait_for(20, timeout=PATIENCE)
        sent_at = time.monotonic()
        process.send_signal(signal.SIGTERM)
        status = process.wait(PATIENCE)
        took = time.monotonic() - sent_at
        drain.join(PATIENCE)
        errors = process.stderr.read()
    return status, out[0].split(), errors, took


@pytest.mark.parametrize("run", range(3))
def test_with_handle_sigterm_every_event_is_delivered_before_the_process_ends(plane, run):
    """The main thread is tracking at that very moment, perhaps inside of a lock; the status says SIGTERM all the same."""
    status, ids, errors, took = _terminate(plane, "sigterm")
    assert status == -signal.SIGTERM
    assert errors.strip() in ("", REFUSED), "the close may have been over before the next event"
    assert took < IN_TIME
    assert set(ids) <= set(plane.unique_ids())


def test_with_handle_sigterm_the_hosts_own_handler_runs_afterwards(plane):
    """Ours comes first; what the host had set up still happens, on the main thread."""
    status, ids, errors, _ = _terminate(plane, "sigterm_with_a_handler")
    assert (status, ids.pop()) == (7, "mine")
    assert errors.strip() in ("", REFUSED), "as above"
    assert set(ids) <= set(plane.unique_ids())


def test_without_handle_sigterm_the_signal_is_left_alone(plane, store):
    """The process dies as it would without us, and says nothing; what was stored is there for the next one."""
    status, _ids, errors, _ = _terminate(plane, "sigterm", store, handled=False)
    assert (status, unexpected_lines(errors)) == (-signal.SIGTERM, [])


def _store(request, tmp_path, kind):
    if kind == "memory":
        return None
    if kind == "sqlite":
        return Store("sqlite", f"sqlite:///{tmp_path}/queue.db", new_queue_name())
    return request.getfixturevalue("redis_store")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_client_refuses_to_be_copied_and_goes_on(clients, plane, duplicate):
    """A copy would share the buffer and its threads, and close them; another process has no use for either."""
    client = clients()
    with pytest.raises(TypeError, match="neither copied nor pickled"):
        duplicate(client)
    client.track("u1", "E")
    assert client.flush(timeout=PATIENCE).delivered == 1
