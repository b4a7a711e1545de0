"""What the suites of the SDKs ask of their clients and modules, asked of the faces; and that no face harms its host."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
import threading
import time
import unittest.mock
from datetime import date, datetime

import pytest

import eventspool
from compat.programs_of_peers import MODULES, run_program
from e2e.harness import PATIENCE, eventually
from eventspool._guest.log import Log
from eventspool._guest.throttle import Throttle
from eventspool.testing import capture_events

CALLS = (
    ("track", ("user", "Event")),
    ("identify", ("user",)),
    ("group", ("user", "group")),
    ("alias", ("old", "user")),
    ("page", ("user",)),
    ("screen", ("user",)),
)


@pytest.fixture(params=MODULES)
def face(request, monkeypatch):
    """A face as after its first import."""
    monkeypatch.delenv("EVENTSPOOL_DATA_PLANE_URL", raising=False)
    monkeypatch.delenv("EVENTSPOOL_WRITE_KEY", raising=False)
    face = importlib.import_module(f"eventspool.compat.{request.param}")
    before = dict(vars(face))
    yield face
    if face.default_client is not None:
        face.default_client.client.close()
    face.default_client = None
    vars(face).clear()
    vars(face).update(before)


@pytest.fixture
def client(face, eventspool_dataplane):
    """A client of a face."""
    client = face.Client("key", host=eventspool_dataplane.url)
    yield client
    client.client.close()


# -- the module ---------------------------------------------------------------------------------------------------------


def test_settings_are_used_by_the_first_call(face, eventspool_dataplane):
    errors = []
    face.write_key, face.host = "key", eventspool_dataplane.url
    face.on_error = lambda error, events: errors.append((error, events))
    face.timeout, face.max_queue_size, face.gzip, face.upload_size = 7, 1337, True, 3
    face.upload_interval, face.max_retries, face.thread, face.send = 0.25, 4, 2, True
    assert face.default_client is None
    face.track("user", "Event")
    opts = face.default_client.client._opts
    assert (opts.write_key, opts.timeout, opts.max_internal_queue_size, opts.gzip) == ("key", 7, 1337, True)
    assert (opts.flush_at, opts.flush_interval, opts.enable) == (3, 0.25, True)
    jobs = face.default_client.client._beginning.memory_jobs
    assert (jobs.max_attempts, jobs.concurrency) == (5, 2)
    face.track("user", "x" * 5_000_000)
    face.flush()
    assert eventspool_dataplane.stats().events == 1
    eventually(lambda: errors, "on_error is told of the event that is too large")
    assert errors[0][0].reason == "too_large"


def test_without_a_host_the_first_call_raises_and_nothing_is_sent(face):
    face.write_key = "key"
    with pytest.raises(eventspool.ConfigError, match="where the data plane is: set host"):
        face.track("user", "Event")
    with pytest.raises(eventspool.ConfigError, match="where the data plane is"):
        face.Client("key")
    assert face.default_client is None


def test_the_environment_says_what_the_program_does_not(face, eventspool_dataplane, monkeypatch):
    monkeypatch.setenv("EVENTSPOOL_DATA_PLANE_URL", eventspool_dataplane.url)
    with pytest.raises(AssertionError, match="write_key must be str"):
        face.track("user", "Event")
    monkeypatch.setenv("EVENTSPOOL_WRITE_KEY", "key")
    face.track("user", "Event")
    face.flush()
    assert eventspool_dataplane.stats().events == 1


def test_a_setting_that_no_sdk_has_raises_at_the_line_that_assigns_it(face):
    with pytest.raises(eventspool.ConfigError, match=r"'hots' in .*did you mean 'host'"):
        face.hots = "https://events.example.com"
    with pytest.raises(eventspool.ConfigError, match=r"'data_plane_url' in .*: it is called 'host' here"):
        face.data_plane_url = "https://events.example.com"
    assert not hasattr(face, "hots")


@pytest.mark.parametrize("name", ["client_id", "client_key", "key_id", "auth_server", "scope"])
def test_oauth_is_refused_by_name(face, name):
    with pytest.raises(eventspool.ConfigError, match=f"'oauth_{name}' in .*write key alone"):
        setattr(face, f"oauth_{name}", "secret-value")
    with pytest.raises(eventspool.ConfigError, match=f"'oauth_{name}' in .*write key alone") as raised:
        face.Client("key", host="https://events.example.com", **{f"oauth_{name}": "secret-value"})
    assert "secret-value" not in str(raised.value)


def test_a_setting_that_comes_too_late_is_told(face, eventspool_dataplane, caplog):
    face.write_key, face.host = "key", eventspool_dataplane.url
    face.flush()
    face.host = eventspool_dataplane.url
    assert caplog.text == ""
    face.host = "https://elsewhere.example.com"
    assert f"{face.__name__}.host was assigned too late" in caplog.text


def test_without_a_default_client_the_next_call_makes_another_one(face, eventspool_dataplane):
    face.write_key, face.host = "key", eventspool_dataplane.url
    face.flush()
    first = face.default_client
    first.client.close()
    face.default_client = None
    face.flush()
    assert face.default_client is not None is not first
    assert face.default_client is not first


def test_threads_that_call_at_the_same_time_share_one_client(face, eventspool_dataplane):
    face.write_key, face.host = "key", eventspool_dataplane.url
    make, together, made = type(face._face)._options, threading.Barrier(8), []

    def wait_and_make(self):
        together.wait(PATIENCE)
        return make(self)

    with unittest.mock.patch.object(type(face._face), "_options", wait_and_make):
        threads = [
            threading.Thread(target=lambda: (face.track("user", "Event"), made.append(face.default_client)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    face.flush()
    assert len(made) == 8
    assert set(made) == {face.default_client}
    assert eventspool_dataplane.stats().events == 8


def test_a_test_can_replace_the_default_client_and_the_functions(face):
    client = unittest.mock.Mock()
    with unittest.mock.patch.object(face, "default_client", client):
        for name, arguments in CALLS:
            getattr(face, name)(*arguments, message_id="m1")
            getattr(client, name).assert_called_once_with(*arguments, message_id="m1")
    assert face.default_client is None
    with unittest.mock.patch.object(face, "track") as track:
        face.track("user", "Event")
    track.assert_called_once_with("user", "Event")


def test_what_the_functions_of_the_module_return(face, eventspool_dataplane):
    face.write_key, face.host = "key", eventspool_dataplane.url
    for name, arguments in CALLS:
        result = getattr(face, name)(*arguments)
        if face.__name__ == "eventspool.compat.rudder":
            assert result is None
        else:
            assert result[0] is True
            assert result[1]["type"] == name
    assert [face.flush(), face.join(), face.shutdown()] == [None] * 3


# -- the client ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "arguments"), CALLS)
def test_a_call_returns_whether_the_event_was_taken_and_the_event(
    client, eventspool_dataplane, name, arguments
):
    ok, message = getattr(client, name)(*arguments, message_id="m1", timestamp=datetime(2014, 9, 3))
    client.flush()
    [event] = eventspool_dataplane.events
    assert ok is True
    assert message["anonymousId"] is None
    assert message["timestamp"] == "2014-09-03T00:00:00.000Z"
    event["context"].pop("traits", None)  # the client puts those of identify into both places
    message["context"].pop("traits", None)
    sent = {field: value for field, value in message.items() if value is not None}
    assert {field: event.get(field) for field in sent} == sent


def test_a_message_keeps_a_date_and_names_what_is_sent(client, eventspool_dataplane):
    _, message = client.identify("user", {"born": date(1981, 2, 2), "bytes": b"hi"})
    client.flush()
    traits = message.get("traits") or message["context"]["traits"]
    assert traits == {"born": date(1981, 2, 2), "bytes": "hi"}
    assert eventspool_dataplane.events[0]["traits"] == {"born": "1981-02-02", "bytes": "hi"}
    assert message["messageId"] == eventspool_dataplane.events[0]["messageId"]


def test_the_callers_objects_stay_as_they_are(client):
    properties, context = (
        {"when": datetime(2020, 1, 1), "bytes": b"x", 1: object()},
        {"ip": "1.2.3.4"},
    )
    before = dict(properties)
    client.track("user", "Event", properties, context)
    client.identify("user", properties, context)
    assert properties == before
    assert context == {"ip": "1.2.3.4"}


def test_memory_that_is_full_is_no_error(face, eventspool_dataplane):
    eventspool_dataplane.script({"status": 503})
    client = face.Client("key", host=eventspool_dataplane.url, max_queue_size=1)
    assert client.track("user", "First")[0] is True
    ok, message = client.track("user", "Second")
    assert ok is False
    assert message["event"] == "Second"
    assert (client.queue.qsize(), client.queue.empty(), client.queue.full()) == (1, False, True)
    client.client.close(0.0)


def test_shutdown_delivers_everything_and_ends(client, eventspool_dataplane, caplog):
    for _ in range(1_000):
        assert client.identify("user", {"trait": "value"})[0]
    client.shutdown()
    assert client.queue.empty()
    assert eventspool_dataplane.stats().events == 1_000
    assert client.identify("user")[0] is False
    assert "the client is closed" in caplog.text


def test_a_client_that_sends_nothing_says_that_all_is_well(face, eventspool_dataplane):
    client = face.Client("key", host=eventspool_dataplane.url, send=False, sync_mode=True)
    assert client.track("user", "Event")[0] is True
    client.shutdown()
    assert eventspool_dataplane.stats().requests == 0


def test_in_sync_mode_a_call_returns_when_the_event_is_delivered(face, eventspool_dataplane):
    client = face.Client("key", host=eventspool_dataplane.url, sync_mode=True, upload_interval=60.0)
    for number in range(1, 4):
        assert client.track("user", "Event")[0] is True
        assert eventspool_dataplane.stats().events == number
    eventspool_dataplane.script({"status": 404})
    assert client.track("user", "Given Up")[0] is False
    client.client.close()


def test_in_sync_mode_a_call_of_on_error_itself_does_not_wait_for_itself(face, eventspool_dataplane):
    called = []

    def on_error(error, events):
        began = time.monotonic()
        client.track("user", "From The Callback")
        called.append(time.monotonic() - began)

    url = eventspool_dataplane.url
    client = face.Client("key", host=url, sync_mode=True, on_error=on_error, timeout=PATIENCE)
    client.track("user", "x" * 5_000_000)
    eventually(lambda: called)
    assert called[0] < PATIENCE / 2
    client.shutdown()


def test_an_event_is_given_up_after_its_retries(face, eventspool_dataplane):
    errors = []
    eventspool_dataplane.script({"status": 503})
    client = face.Client(
        "key",
        host=eventspool_dataplane.url,
        max_retries=1,
        on_error=lambda error, events: errors.append((error.reason, len(events))),
    )
    client.track("user", "Event")
    client.flush()
    assert eventspool_dataplane.stats().requests == 2
    assert eventually(lambda: errors) == [("max_attempts", 1)]
    client.client.close()


def test_flush_returns_where_the_write_key_is_refused_and_the_events_are_kept(
    face, eventspool_dataplane, caplog
):
    eventspool_dataplane.script({"status": 401})
    client = face.Client("key", host=eventspool_dataplane.url)
    assert client.track("user", "Event")[0] is True
    client.flush()
    assert "flush() waits no longer: the data plane refuses the write key" in caplog.text
    assert client.queue.qsize() == 1
    eventspool_dataplane.script()
    assert client.client.flush(timeout=PATIENCE).delivered == 1
    client.client.close()


def test_a_durable_queue_comes_with_an_option_more(face, eventspool_dataplane, tmp_path):
    client = face.Client(
        "key", host=eventspool_dataplane.url, persistence=f"sqlite:///{tmp_path}/events.db", max_retries=3
    )
    assert client.client._beginning.queue_opts.jobs.max_attempts == 4
    assert client.track("user", "Event")[0] is True
    client.shutdown()
    assert (tmp_path / "events.db").exists()
    assert eventspool_dataplane.stats().events == 1


def test_a_queue_that_says_how_often_goes_before_the_retries(face, tmp_path):
    url = f"sqlite:///{tmp_path}/events.db"
    queue = {"url": url, "job_opts": {"max_attempts": 7}}
    client = face.Client("key", host="http://127.0.0.1:9", persistence=queue, max_retries=3, thread=2)
    jobs = client.client._beginning.queue_opts.jobs
    assert (jobs.max_attempts, jobs.concurrency) == (7, 2)
    client.client.close()


@pytest.mark.parametrize(
    ("proxies", "proxy"),
    [
        ({"http": "http://p:1", "https": "http://p:2"}, "http://p:2"),
        ({"http": "http://p:1"}, None),
        ({"all": "p:3"}, "http://p:3"),
        ({"https://events.example.com": "http://p:4", "https": "http://p:2"}, "http://p:4"),
        ("p:5", "http://p:5"),
        ({}, None),
    ],
)
def test_of_several_proxies_the_one_for_the_data_plane_is_taken(face, proxies, proxy):
    client = face.Client("key", host="https://events.example.com", proxies=proxies)
    assert (client.client._opts.proxy or None) == proxy


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_queue_size": 0}, "max_internal_queue_size.*is called 'max_queue_size'"),
        ({"upload_size": 0}, "flush_at.*is called 'upload_size'"),
        ({"timeout": (1, 2)}, "^timeout must be a number"),
        ({"max_retries": -1}, "max_retries must be"),
        ({"thread": 0}, "thread of at least 1"),
        ({"proxies": 5}, "proxies must be"),
        ({"proxies": "http://p", "proxy": "http://p"}, "either proxies or proxy"),
        ({"host": "no URL"}, "data_plane_url.*is called 'host'"),
        ({"flush_at": 5}, "it is called 'upload_size' here"),
        ({"axiosConfig": {}}, "axiosConfig"),
    ],
)
def test_an_option_that_cannot_work_is_told_by_its_name_there(face, options, said):
    with pytest.raises(eventspool.ConfigError, match=said):
        face.Client(**{"write_key": "key", "host": "https://events.example.com", **options})


def test_options_have_the_positions_of_the_family(face):
    def on_error(error, events):
        pass

    client = face.Client("key", "https://events.example.com", False, 5, True, on_error, True, 2, False, 3)
    opts = client.client._opts
    assert (opts.max_internal_queue_size, opts.gzip, opts.timeout) == (5, True, 3)
    assert client.on_error is on_error
    assert client.client._beginning.memory_jobs.max_attempts == 3


def test_debug_and_a_handler_are_those_of_our_logger(face, monkeypatch):
    logger, handler = logging.getLogger("eventspool"), logging.NullHandler()
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    for _ in range(2):
        face.Client("key", host="https://events.example.com", debug=True, log_handler=handler)
    assert logger.handlers == [handler]
    assert logger.level == logging.DEBUG
    face.Client("key", host="https://events.example.com").log.setLevel(logging.NOTSET)


# -- a guest ------------------------------------------------------------------------------------------------------------


class Hostile:
    def __bool__(self):
        raise RuntimeError("payload-1")

    def __str__(self):
        raise RuntimeError("payload-2")

    __repr__ = __str__


class HostileStr(str):
    __slots__ = ()

    def __str__(self):
        raise RuntimeError("payload-3")


@pytest.mark.parametrize(
    "call",
    [
        lambda client, loop: client.track(HostileStr("user"), "Event", message_id=Hostile()),
        lambda client, loop: client.track("user", "Event", loop),
        lambda client, loop: client.track("user", "Event", {"a": {"b": loop}}),
        lambda client, loop: client.track("user", "Event", {"x": [0] * 5_000_000}),
        lambda client, loop: client.track("user", ""),
        lambda client, loop: client.track("user", "Event", {(1, 2): 3}),
        lambda client, loop: client.track(10**5000, "Event"),
    ],
    ids=["hostile id", "loop", "loop further down", "too many values", "no name", "key", "long number"],
)
def test_what_cannot_be_sent_is_refused_and_raises_nothing(client, caplog, call):
    loop = {}
    loop["loop"] = loop
    ok, message = call(client, loop)
    assert ok is False
    assert message["type"] == "track"
    assert sum(client.client.stats().refused.values()) == 1
    assert "refused an event" in caplog.text
    assert "payload" not in caplog.text


def test_an_object_that_is_neither_true_nor_false_is_no_id(client):
    with pytest.raises(
        AssertionError, match="user_id or anonymous_id must be a string or a number, not NoneType"
    ):
        client.track(Hostile(), "Event")
    with pytest.raises(AssertionError, match=r"^properties must be dict, not NoneType"):
        client.track("user", "Event", Hostile())


def test_bytes_that_are_no_text_are_left_out(client, eventspool_dataplane, caplog, monkeypatch):
    monkeypatch.setattr("eventspool.compat._values._throttle", Throttle(Log("eventspool")))
    assert client.track("user", "Event", {"bad": b"\xff", "good": 1, "nan": float("nan")})[0] is True
    client.flush()
    assert eventspool_dataplane.events[0]["properties"] == {"good": 1, "nan": None}
    assert "left a value out of an event" in caplog.text


def test_an_interruption_of_the_host_comes_out_of_the_call(client):
    class Limit(BaseException):
        pass

    class Slow:
        def __str__(self):
            raise Limit

    with pytest.raises(Limit):
        client.track("user", "Event", message_id=Slow())


def test_events_of_a_face_can_be_captured(face):
    face.write_key, face.host = "key", "https://events.example.com"
    with capture_events() as captured:
        face.track("user", "Event", {"a": 1})
    captured.assert_tracked("Event", user_id="user", properties_contains={"a": 1})


def test_a_scope_gives_what_a_call_leaves_out(client, eventspool_dataplane):
    with eventspool.context(user_id="scoped", context={"ip": "1.2.3.4"}, properties={"tenant": "acme"}):
        assert client.track(event="Event", properties={"a": 1})[0] is True
    with pytest.raises(AssertionError, match="user_id or anonymous_id"):
        client.track(event="Event")
    client.flush()
    [event] = eventspool_dataplane.events
    assert (event["userId"], event["context"]["ip"]) == ("scoped", "1.2.3.4")
    assert event["properties"] == {"tenant": "acme", "a": 1}


def test_what_before_send_drops_was_not_taken(face, eventspool_dataplane):
    client = face.Client("key", host=eventspool_dataplane.url, before_send=lambda event: None)
    assert client.track("user", "Event")[0] is False
    client.shutdown()
    assert eventspool_dataplane.stats().events == 0


def test_importing_a_face_starts_nothing_and_needs_no_package(tmp_path):
    code = """
import sys
before = set(sys.modules)
import eventspool.compat.segment, eventspool.compat.rudder, eventspool.compat.htevents
import eventspool.compat.segment.client, eventspool.compat.rudder.client, eventspool.compat.htevents.client
assert len(sys._current_frames()) == 1
heavy = {"asyncio", "http.client", "sqlite3", "ssl", "requests", "dateutil"} & set(sys.modules) - before
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, timeout=60)


@pytest.mark.parametrize("sdk", MODULES)
def test_a_forked_child_sends_through_the_client_of_its_parent(sdk):
    run = run_program(sys.executable, sdk, "forked", changes_import=True)

    assert sorted(event["event"] for event in run.events) == ["Child", "Parent", "Parent Again"]
