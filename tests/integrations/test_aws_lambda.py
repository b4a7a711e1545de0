"""A handler of AWS Lambda answers when its events are delivered, and a process that is frozen then loses none of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

import eventspool
from e2e.fixtures import clients, plane
from e2e.harness import SLACK
from eventspool import AsyncClient, ConfigError, FlushResult, _default
from eventspool.integrations.aws_lambda import handler

__all__ = ["clients", "plane"]

PROGRAM = Path(__file__).parent / "programs" / "function.py"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:a87bd80c:0"


class Told:
    """What the platform tells a handler of its call."""

    aws_request_id = "request-1"

    def __init__(self, seconds=3.0):
        self._ends_at = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return int(1000 * (self._ends_at - time.monotonic()))


@pytest.fixture
def client(clients):
    """A client that sends nothing before it is flushed."""
    return clients(flush_interval=3600.0)


@pytest.fixture
def flushes(client, monkeypatch):
    """The timeouts of the flushes."""
    timeouts = []

    def flush(*, until, timeout):
        timeouts.append(timeout)
        return FlushResult()

    monkeypatch.setattr(client, "flush", flush)
    return timeouts


def test_it_answers_when_its_events_are_delivered(client, plane):
    @handler(client=client)
    def handle(event, context):
        """Handle it."""
        return {"id": client.track(event["user"], "Asked"), "context": context}

    told = Told()
    answer = handle({"user": "u1"}, told)

    assert answer == {"id": plane.unique_ids()[0], "context": told}
    assert (handle.__name__, handle.__doc__) == ("handle", "Handle it.")


def test_it_raises_what_the_handler_raises_when_its_events_are_delivered(client, plane):
    @handler(client=client)
    def handle(event, context):
        client.track("u1", "Asked")
        raise ZeroDivisionError("of the handler's")

    with pytest.raises(ZeroDivisionError, match="handler's"):
        handle({}, Told())
    assert plane.stats().unique == 1


@pytest.mark.parametrize("with_parentheses", [False, True])
def test_without_a_client_it_is_the_default_one(plane, monkeypatch, with_parentheses):
    monkeypatch.setattr(_default, "_client", None)
    decorate = handler() if with_parentheses else handler

    @decorate
    def handle(event, context):
        return _default._default().track("u1", "Asked")

    with pytest.raises(ConfigError, match="init"):
        handle({}, Told())  # as without the decorator
    client = eventspool.init(plane.write_key, data_plane_url=plane.url, flush_interval=3600.0)
    assert handle({}, Told()) == plane.unique_ids()[0]
    client.close()


def test_it_makes_the_default_client_where_the_environment_says_how(monkeypatch):
    monkeypatch.setattr(_default, "_client", None)
    monkeypatch.setenv("EVENTSPOOL_WRITE_KEY", "key")
    handler(client=object())(lambda event, context: None)
    assert _default.current_client() is None
    handler(lambda event, context: None)
    made = _default.current_client()
    assert made is not None
    made.close()


@pytest.mark.parametrize(
    ("left", "options", "seconds"),
    [
        (3000, {}, 2.5),
        (3000, {"reserve": 1.0}, 2.0),
        (300_000, {}, 10.0),
        (300_000, {"timeout": 30.0}, 30.0),
        (200, {}, 0.0),
        ("soon", {}, 2.0),
        (MagicMock(), {}, 2.0),
        (None, {}, 2.0),
        (None, {"timeout": 1.0}, 1.0),
    ],
)
def test_a_flush_takes_no_longer_than_there_is_time(client, flushes, left, options, seconds):
    told = object() if left is None else SimpleNamespace(get_remaining_time_in_millis=lambda: left)
    handler(client=client, **options)(lambda event, context: None)({}, told)

    assert flushes == [seconds]


def test_a_data_plane_that_is_down_costs_what_time_there_is_and_the_log_says_what_waits(
    client, plane, caplog
):
    plane.script({"status": 503})

    @handler(client=client, timeout=0.2)
    def handle(event, context):
        client.track("secret-user", "Asked")
        return "answer"

    began = time.monotonic()
    assert handle({}, Told(300.0)) == "answer"
    assert time.monotonic() - began < SLACK
    assert "1 events wait when the handler ends" in caplog.text
    assert "secret" not in caplog.text


def test_a_client_that_only_stores_is_waited_for_until_it_has_stored(clients, plane, tmp_path):
    client = clients(persistence=f"sqlite:///{tmp_path}/events.db", process=False, flush_interval=3600.0)

    @handler(client=client)
    def handle(event, context):
        client.track("u1", "Asked")

    began = time.monotonic()
    handle({}, Told(300.0))
    assert time.monotonic() - began < SLACK
    assert client.queue.stats().waiting.events == 1


def test_events_know_of_the_call(client, eventspool_capture, monkeypatch):
    def track(event, context):
        client.track("u1", "Asked", context={"ip": "1.2.3.4"})

    monkeypatch.setenv("_X_AMZN_TRACE_ID", TRACE)
    for options in ({}, {"request_id": False}, {"trace": False}):
        handler(client=client, **options)(track)({}, Told())
    for trace in ("", "junk", "Root=1-x-y", "Self=1-5759e988-bd862e3fe1be46a994272793"):
        monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
        handler(client=client)(track)({}, object())
    monkeypatch.delenv("_X_AMZN_TRACE_ID")
    handler(client=client)(track)({}, context=Told())

    said = [event["context"] for event in eventspool_capture]
    for each in said:
        assert (each.pop("ip"), each.pop("library")["name"]) == ("1.2.3.4", "eventspool")
    trace = {"traceId": "5759e988bd862e3fe1be46a994272793", "spanId": "53995c3f42cd8ad8"}
    request = {"awsRequestId": "request-1"}
    assert said == [{**request, **trace}, trace, request, {}, {}, {}, {}, request]
    assert eventspool.current() == {}


def test_a_bug_of_ours_does_not_reach_the_handlers_caller(client, monkeypatch, caplog):
    def flush(**_):
        raise RuntimeError("secret")

    monkeypatch.setattr(client, "flush", flush)
    assert handler(client=client)(lambda event, context: "answer")({}, Told()) == "answer"
    assert "flushing at the end of a handler met RuntimeError" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "options",
    [
        {"reserve": -1.0},
        {"reserve": "soon"},
        {"timeout": -1.0},
        {"timeout": float("nan")},
        {"client": AsyncClient("key", enable=False)},
    ],
)
def test_a_wrong_option_is_a_mistake(options):
    with pytest.raises(ConfigError):
        handler(**options)


async def _coroutine(event, context):
    pass


def _generator(event, context):
    yield


async def _asynchronous_generator(event, context):
    yield


class _Called:
    async def __call__(self, event, context):
        pass


@pytest.mark.parametrize("handle", [_coroutine, _generator, _asynchronous_generator, _Called()])
def test_what_only_begins_when_it_is_called_is_no_handler(handle):
    """Its events would be tracked after the flush."""
    with pytest.raises(ConfigError, match="plain function"):
        handler(handle)


@pytest.mark.parametrize("ending", ["returns", "raises"])
def test_a_process_that_is_frozen_after_each_answer_and_killed_at_last_loses_nothing(plane, ending, tmp_path):
    command = [sys.executable, str(PROGRAM), plane.write_key, plane.url, ending]
    answered = []
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            for number in range(12):
                process.send_signal(signal.SIGCONT)
                process.stdin.write(f"{number}\n")
                process.stdin.flush()
                answered += json.loads(process.stdout.readline())
                process.send_signal(signal.SIGSTOP)
        finally:
            process.kill()

    assert len(answered) == 36, (tmp_path / "log").read_text()
    assert set(plane.unique_ids()) == set(answered)
    assert {event["context"]["awsRequestId"] for event in plane.events} == {
        f"request-{number}" for number in range(12)
    }
