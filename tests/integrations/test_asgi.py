"""The ASGI middleware and the lifespan: which events know of a request, and that the last one is not lost."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

import eventspool
from eventspool import ConfigError, _default
from eventspool._guest.log import Log
from eventspool._guest.throttle import Throttle
from eventspool.integrations import _serving, asgi
from eventspool.integrations.asgi import Lifespan, Middleware, lifespan
from integrations.calling import ask_asgi, living, new_scope, nothing_is_left


async def tracking(scope, receive, send):
    """Track an event, and answer."""
    eventspool.track("u1", "Asked")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


def ask(app, **scope):
    return asyncio.run(ask_asgi(app, new_scope(**scope)))


def test_an_event_knows_of_its_request(client, eventspool_capture):
    headers = {
        "User-Agent": "Mozilla/5.0",
        "Host": "shop.example",
        "Referer": "https://a.example/?secret",
        "X-Request-ID": "r-1",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }

    assert ask(Middleware(tracking), path="/orders", headers=headers) == (200, b"done")
    [event] = eventspool_capture
    del event["context"]["library"]
    assert event["context"] == {
        "ip": "203.0.113.9",
        "userAgent": "Mozilla/5.0",
        "page": {"path": "/orders", "url": "http://shop.example/orders", "referrer": "https://a.example/"},
        "requestId": "r-1",
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
        "spanId": "00f067aa0ba902b7",
    }


def test_the_last_of_several_forwarded_headers_is_the_proxys(client, eventspool_capture):
    scope = new_scope()
    scope["headers"] = [(b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"2.2.2.2")]
    asyncio.run(ask_asgi(Middleware(tracking, trusted_proxies=1), scope))

    assert eventspool_capture[0]["context"]["ip"] == "2.2.2.2"


@pytest.mark.parametrize("peer", [None, ["", 0], ("testclient", 50_000), ()])
def test_a_peer_without_an_address_is_left_out(client, eventspool_capture, peer):
    ask(Middleware(tracking), client=peer)

    assert "ip" not in eventspool_capture[0]["context"]


def test_two_hundred_requests_at_once_keep_their_users(client, eventspool_capture):
    """All of them track only when each of them has begun: on the event loop, in tasks of theirs, and on other threads."""

    async def serve():
        together = asyncio.Barrier(200)

        async def app(scope, receive, send):
            user = dict(scope["headers"])[b"x-user"].decode()
            await together.wait()
            eventspool.track(event="Called", properties={"user": user})
            await together.wait()
            await asyncio.to_thread(eventspool.track, event="On a thread", properties={"user": user})
            await asyncio.create_task(later(user))
            eventspool.bind(context={"bound": user})
            await together.wait()
            eventspool.track(event="Bound", properties={"user": user})
            await tracking(scope, receive, send)

        async def later(user):
            await asyncio.sleep(0)
            eventspool.track(event="In a task", properties={"user": user})

        wrapped = Middleware(app, user=lambda scope: dict(scope["headers"])[b"x-user"].decode())
        scopes = [new_scope(headers={"X-User": f"u{n}"}) for n in range(200)]
        await asyncio.gather(*(ask_asgi(wrapped, scope) for scope in scopes))
        assert nothing_is_left()

    asyncio.run(serve())
    events = [event for event in eventspool_capture if event["event"] != "Asked"]
    assert len(events) == 800
    assert all(event["userId"] == event["properties"]["user"] for event in events)
    assert all(event["context"]["bound"] == event["userId"] for event in events if event["event"] == "Bound")
    assert len({event["userId"] for event in events}) == 200


def test_the_events_of_a_websocket_know_of_the_request_that_opened_it(client, eventspool_capture):
    async def app(scope, receive, send):
        eventspool.track("u1", "Joined")

    ask(Middleware(app), kind="websocket", headers={"X-Request-ID": "r-1"})
    assert eventspool_capture[0]["context"]["requestId"] == "r-1"


def test_other_scopes_pass_through(client, eventspool_capture):
    async def app(scope, receive, send):
        eventspool.track("u1", "Started")

    asyncio.run(Middleware(app)({"type": "lifespan"}, None, None))
    assert set(eventspool_capture[0]["context"]) == {"library"}


def test_what_the_application_raises_comes_out(client):
    async def app(scope, receive, send):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(Middleware(app))


def test_a_request_that_cannot_be_read_is_served(client, eventspool_capture, caplog, monkeypatch):
    monkeypatch.setattr(
        _serving, "_throttle", Throttle(Log("eventspool"))
    )  # others may have said it just now
    assert ask(Middleware(tracking), path=None) == (200, b"done")
    assert set(eventspool_capture[0]["context"]) == {"library"}
    assert "met TypeError" in caplog.text


def test_the_user_of_starlettes_authentication_is_known(client, eventspool_capture):
    from starlette.authentication import BaseUser

    class User(BaseUser):
        is_authenticated = True
        identity = "u7"

    class Visitor(User):
        is_authenticated = False

    class Named(User):
        @property
        def identity(self):
            raise NotImplementedError

    async def app(scope, receive, send):
        for user in (User(), Visitor(), Named(), object()):
            scope["user"] = user
            eventspool.track(event="Asked", anonymous_id="a1")

    ask(Middleware(app))
    assert [event.get("userId") for event in eventspool_capture] == ["u7", None, None, None]


# -- the lifespan ---------------------------------------------------------------------------------------------------------


def test_the_lifespan_makes_the_client_of_the_environment_and_delivers_at_the_end(
    monkeypatch, plane, no_client
):
    monkeypatch.setenv("EVENTSPOOL_WRITE_KEY", plane.write_key)
    monkeypatch.setenv("EVENTSPOOL_DATA_PLANE_URL", plane.url)

    async def live():
        async with lifespan(None):
            return [eventspool.track("u1", "Asked") for _ in range(3)]

    for _ in range(2):  # a second start, as of a test's client, works
        plane.reset()
        assert plane.unique_ids() == []
        accepted = asyncio.run(live())
        assert None not in accepted
        assert plane.unique_ids() == accepted
    assert eventspool.track("u1", "Asked") is None


def test_without_a_client_or_a_write_key_the_start_fails(no_client):
    async def live():
        async with lifespan(None):
            raise AssertionError("it has started")

    with pytest.raises(ConfigError, match="write_key"):
        asyncio.run(live())


def test_the_event_loop_goes_on_while_the_client_closes(monkeypatch, plane, no_client):
    plane.script({"latency": 0.5})
    eventspool.init(plane.write_key, data_plane_url=plane.url)

    async def live():
        async with lifespan(None):
            eventspool.track("u1", "Asked")
            ticking = asyncio.create_task(tick())
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
        return ticks

    ticks = []

    async def tick():
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.01)

    asyncio.run(live())
    assert len(plane.unique_ids()) == 1
    assert len(ticks) > 10, "the loop stood still"


def test_the_end_is_bounded(monkeypatch, no_client):
    monkeypatch.setattr(asgi, "_CLOSE_BUDGET", 0.2)
    eventspool.init("key", data_plane_url="http://127.0.0.1:9")

    async def live():
        async with lifespan(None):
            eventspool.track("u1", "Lost")

    began = time.monotonic()
    asyncio.run(live())
    assert time.monotonic() - began < 4.5, "it waits for longer than it may"
    assert eventspool.stats().lost == 1


def test_a_lifespan_of_the_application_can_hold_ours(monkeypatch, plane, no_client):
    from fastapi import FastAPI

    @contextlib.asynccontextmanager
    async def own(app):
        eventspool.init(plane.write_key, data_plane_url=plane.url)
        async with lifespan(app):
            eventspool.track("u1", "Started")
            yield {"ready": True}

    async def live():
        async with living(FastAPI(lifespan=own)) as said:
            assert said == ["lifespan.startup.complete"]
        assert said[-1] == "lifespan.shutdown.complete"

    asyncio.run(live())
    assert len(plane.unique_ids()) == 1


async def knows_no_lifespan(scope, receive, send):
    """Do what Django does."""
    if scope["type"] != "http":
        raise ValueError(scope["type"])
    await tracking(scope, receive, send)


async def ignores_lifespan(scope, receive, send):
    """Return, as some frameworks do."""
    if scope["type"] == "http":
        await tracking(scope, receive, send)


async def has_a_lifespan(scope, receive, send):
    """Do as FastAPI does."""
    if scope["type"] == "http":
        await tracking(scope, receive, send)
        return
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    eventspool.track("u1", "Stopping")
    await send({"type": "lifespan.shutdown.complete"})


@pytest.mark.parametrize("app", [knows_no_lifespan, ignores_lifespan, has_a_lifespan])
def test_any_application_can_be_given_a_lifespan(plane, no_client, app):
    client = eventspool.init(plane.write_key, data_plane_url=plane.url)

    async def live():
        wrapped = Lifespan(app)
        async with living(wrapped) as said:
            assert await ask_asgi(wrapped, new_scope()) == (200, b"done")
        assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    asyncio.run(live())
    assert client.stats().delivered == (2 if app is has_a_lifespan else 1)
    assert eventspool.track("u1", "Late") is None


def test_a_failed_start_is_told_to_the_server(client):
    async def app(scope, receive, send):
        await receive()
        raise ZeroDivisionError

    async def live():
        async with living(Lifespan(app)):
            raise AssertionError("it has started")

    with pytest.raises(ZeroDivisionError):
        asyncio.run(live())


def test_without_a_client_the_end_is_nothing(no_client):
    async def live():
        async with living(Lifespan(knows_no_lifespan)):
            pass

    asyncio.run(live())
    assert _default._client is None
