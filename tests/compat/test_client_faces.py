"""The clients of the faces: what the suites of the SDKs ask of theirs."""

from __future__ import annotations

import logging
import time
from datetime import date, datetime
from inspect import signature

import pytest

import eventspool
from e2e.harness import PATIENCE, eventually
from eventspool.compat._options import translate

CALLS = (
    ("track", ("user", "Event")),
    ("identify", ("user",)),
    ("group", ("user", "group")),
    ("alias", ("old", "user")),
    ("page", ("user",)),
    ("screen", ("user",)),
)


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
        ({"timeout": None}, "^timeout must be a number"),
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


def test_what_programs_ask_of_the_insides(face, eventspool_dataplane):
    client = face.Client("key", host=eventspool_dataplane.url, timeout=3, max_retries=4, on_error=False)
    [consumer] = client.consumers
    assert (client.write_key, client.queue.maxsize, consumer.timeout, consumer.retries) == (
        "key",
        10_000,
        3,
        4,
    )
    assert not consumer.is_alive()
    client.track("user", "Event")
    assert consumer.is_alive()
    client.shutdown()
    assert not consumer.is_alive()
    assert face.Client("key", host=eventspool_dataplane.url, sync_mode=True).consumers is None


def test_a_client_that_is_switched_off_by_its_attribute_sends_nothing(client, eventspool_dataplane):
    client.send = False
    assert client.track("user", "Event")[0] is True
    client.shutdown()
    assert eventspool_dataplane.stats().requests == 0


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


def test_the_environment_goes_before_a_default_of_the_sdk_and_after_the_program(face, monkeypatch):
    defaults = {name: each.default for name, each in signature(face.Client).parameters.items()}
    given = {**defaults, "write_key": "key", "host": "https://events.example.com", "gzip": face.gzip}
    peer = face.Client.PEER
    before = translate(peer, given, {}).options
    assert (before["timeout"], before["max_event_bytes"]) == (15, peer.max_event_bytes)
    monkeypatch.setenv("EVENTSPOOL_TIMEOUT", "7")
    monkeypatch.setenv("EVENTSPOOL_MAX_EVENT_BYTES", "700")
    left = translate(peer, given, {}).options
    assert before.keys() - left.keys() == {"timeout", "max_event_bytes"}
    assert translate(peer, {**given, "timeout": 5}, {}).options["timeout"] == 5
