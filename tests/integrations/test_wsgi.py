"""The WSGI middleware: which events know of a request, what passes through untouched, and what it never does."""

from __future__ import annotations

import io
import threading
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest

import eventspool
from eventspool import ConfigError
from eventspool._guest.log import Log
from eventspool._guest.throttle import Throttle
from eventspool.integrations import _serving
from eventspool.integrations.wsgi import Middleware
from integrations.calling import ask_wsgi, new_environ, nothing_is_left


def tracking(environ, start_response):
    """Track an event, and answer."""
    eventspool.track("u1", "Asked")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


def test_an_event_knows_of_its_request(client, eventspool_capture):
    environ = new_environ(
        "/orders",
        user_agent="Mozilla/5.0",
        host="shop.example",
        referer="https://a.example/?secret",
        x_request_id="r-1",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )

    assert ask_wsgi(Middleware(tracking), environ) == ("200 OK", b"done")
    [event] = eventspool_capture
    del event["context"]["library"]
    assert event["userId"] == "u1"
    assert event["context"] == {
        "ip": "203.0.113.9",
        "userAgent": "Mozilla/5.0",
        "page": {"path": "/orders", "url": "http://shop.example/orders", "referrer": "https://a.example/"},
        "requestId": "r-1",
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
        "spanId": "00f067aa0ba902b7",
    }
    assert nothing_is_left()


def test_the_scope_covers_the_response_and_its_close(client, eventspool_capture):
    class Response:
        def __iter__(self):
            for part in ("First", "Second"):
                eventspool.track(event=part)
                yield b"x"

        def close(self):
            eventspool.track(event="Closed")

    def app(environ, start_response):
        eventspool.bind(user_id="u1", context={"bound": True})
        start_response("200 OK", [])
        return Response()

    ask_wsgi(Middleware(app), new_environ(x_request_id="r-1"))
    assert [event["event"] for event in eventspool_capture] == ["First", "Second", "Closed"]
    assert {event["context"]["requestId"] for event in eventspool_capture} == {"r-1"}
    assert {event["userId"] for event in eventspool_capture} == {"u1"}
    assert all(event["context"]["bound"] for event in eventspool_capture)
    assert nothing_is_left()


def test_two_responses_that_one_thread_reads_in_turn_are_told_apart(client, eventspool_capture):
    def app(environ, start_response):
        start_response("200 OK", [])
        return (eventspool.track(environ["HTTP_X_REQUEST_ID"], "Read") and b"" for _ in range(3))

    wrapped = Middleware(app)
    responses = [iter(wrapped(new_environ(x_request_id=f"r-{n}"), lambda *_: None)) for n in range(2)]
    for _ in range(3):
        for response in responses:
            next(response)

    assert len(eventspool_capture) == 6
    assert all(event["userId"] == event["context"]["requestId"] for event in eventspool_capture)


def test_two_hundred_requests_at_once_keep_their_users(client, eventspool_capture):
    together = threading.Barrier(200)

    def app(environ, start_response):
        together.wait(60)
        eventspool.track(event="Called", properties={"user": environ["HTTP_X_USER"]})
        start_response("200 OK", [])
        return stream(environ["HTTP_X_USER"])

    def stream(user):
        together.wait(60)
        eventspool.track(event="Streamed", properties={"user": user})
        yield b"x"

    wrapped = Middleware(app, user=lambda environ: environ["HTTP_X_USER"])
    threads = [
        threading.Thread(target=ask_wsgi, args=(wrapped, new_environ(x_user=f"u{n}"))) for n in range(200)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(eventspool_capture) == 400
    assert all(event["userId"] == event["properties"]["user"] for event in eventspool_capture)
    assert len({event["userId"] for event in eventspool_capture}) == 200


def test_the_user_is_asked_at_each_event(client, eventspool_capture):
    def app(environ, start_response):
        assert eventspool.track(event="Before") is None
        environ["user"] = 17
        eventspool.track(event="After")
        eventspool.track("u2", "Said")
        start_response("200 OK", [])
        return []

    ask_wsgi(Middleware(app, user=lambda environ: environ.get("user")), new_environ())
    assert [(event["event"], event["userId"]) for event in eventspool_capture] == [
        ("After", "17"),
        ("Said", "u2"),
    ]


def test_a_user_that_cannot_be_asked_costs_no_request(client, eventspool_capture, caplog):
    def app(environ, start_response):
        assert eventspool.track(event="Asked") is None
        eventspool.track("u1", "Said")
        return tracking(environ, start_response)

    assert ask_wsgi(Middleware(app, user=lambda environ: environ["nothing"]), new_environ())[0] == "200 OK"
    assert len(eventspool_capture) == 2
    assert "asking for it raised KeyError" in caplog.text


def test_a_request_that_cannot_be_read_is_served(client, eventspool_capture, caplog, monkeypatch):
    monkeypatch.setattr(
        _serving, "_throttle", Throttle(Log("eventspool"))
    )  # others may have said it just now
    assert ask_wsgi(Middleware(tracking), {**new_environ(), "SCRIPT_NAME": None})[0] == "200 OK"
    assert set(eventspool_capture[0]["context"]) == {"library"}
    assert "met TypeError" in caplog.text


def test_what_the_application_raises_comes_out(client):
    def app(environ, start_response):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask_wsgi(Middleware(app), new_environ())
    assert nothing_is_left()


def test_what_the_response_raises_comes_out(client):
    def app(environ, start_response):
        start_response("200 OK", [])
        yield b"x"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask_wsgi(Middleware(app), new_environ())
    assert nothing_is_left()


def test_it_keeps_the_rules_of_wsgi(client, eventspool_capture):
    environ = new_environ()
    environ["REQUEST_METHOD"] = "GET"
    del environ["CONTENT_LENGTH"], environ["CONTENT_TYPE"]

    assert ask_wsgi(validator(Middleware(validator(tracking))), environ) == ("200 OK", b"done")


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_response_that_is_complete_is_handed_on_as_it_is(client, kind):
    response = kind([b"x"])

    assert Middleware(lambda *_: response)(new_environ(), lambda *_: None) is response


def test_a_file_is_handed_on_as_it_is_so_that_the_server_can_send_it(client):
    file = FileWrapper(io.BytesIO(b"x"))
    environ = {**new_environ(), "wsgi.file_wrapper": FileWrapper}

    assert Middleware(lambda *_: file)(environ, lambda *_: None) is file


def test_the_client_is_made_of_the_environment_where_there_is_none(monkeypatch, no_client):
    Middleware(tracking)
    with pytest.raises(ConfigError):
        eventspool.stats()

    monkeypatch.setenv("EVENTSPOOL_WRITE_KEY", "key")
    Middleware(tracking)
    assert eventspool.stats().accepted == 0


def test_the_client_that_the_application_has_made_stays(monkeypatch, client):
    monkeypatch.setenv("EVENTSPOOL_WRITE_KEY", "key")
    Middleware(tracking)

    assert eventspool._default._client is client


def test_a_wrong_switch_is_an_error_at_the_start(client):
    with pytest.raises(ConfigError, match="trusted_proxies"):
        Middleware(tracking, trusted_proxies=-1)
