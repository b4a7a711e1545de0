"""
The Django integration inside one process: the example's project with a database of the test's own.

Django can be set up once in a process, so the settings stay for the tests after this one; the default client does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from pathlib import Path

import django
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory, override_settings
from django.utils.functional import SimpleLazyObject

import eventspool
from eventspool import ConfigError, _default
from eventspool.integrations.django import checks
from integrations.calling import nothing_is_left

SHOP = Path(__file__).parents[2] / "examples/django"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Django, set up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_DATABASE", str(tmp_path_factory.mktemp("django") / "shop.db"))
        patch.setenv("DJANGO_SETTINGS_MODULE", "shop.settings")
        patch.delenv("EVENTSPOOL_WRITE_KEY", raising=False)
        patch.syspath_prepend(str(SHOP))
        patch.setattr(_default, "_client", None)
        django.setup()
        call_command("migrate", verbosity=0)
        from shop.models import Order

        yield Order
        connection.close()


@pytest.fixture(autouse=True)
def shop(project, client):
    """The model of orders; none is there. The default client is one whose events a test captures."""
    project.objects.all().delete()
    return project


@pytest.fixture
def user(shop):
    from django.contrib.auth.models import User

    user, _ = User.objects.get_or_create(username="ada")
    return user


# -- events on commit -----------------------------------------------------------------------------------------------------


def on_commit():
    """Return the module, whose name is also that of Django's own."""
    from eventspool.integrations import django as integration

    return integration


def test_an_event_is_sent_when_the_transaction_is_committed(shop, eventspool_capture):
    properties = {"state": "new"}
    before = time.time()
    with transaction.atomic():
        given = on_commit().track("u1", "Ordered", properties)
        properties["state"] = "changed"
        middle = time.time()
        assert eventspool_capture == []
        time.sleep(0.05)
    [event] = eventspool_capture

    assert event["messageId"] == given
    assert event["properties"] == {"state": "new"}
    moment = time.mktime(time.strptime(event["timestamp"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert int(before) <= moment + float(event["timestamp"][19:-1]) <= middle + 0.001


def test_nothing_is_left_of_what_is_rolled_back(shop, eventspool_capture):
    with transaction.atomic():
        on_commit().track("u1", "Outer")
        with transaction.atomic():
            on_commit().track("u1", "Savepoint")
            transaction.set_rollback(True)
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        on_commit().track("u1", "Raised")
        raise ZeroDivisionError

    assert [event["event"] for event in eventspool_capture] == ["Outer"]


def test_without_a_transaction_an_event_is_sent_at_once(shop, eventspool_capture):
    given = on_commit().track("u1", "Ordered")

    assert [event["messageId"] for event in eventspool_capture] == [given]


def test_asking_for_a_transaction_does_not_connect_to_the_database(shop, eventspool_capture):
    connection.close()
    on_commit().track("u1", "Ordered")

    assert connection.connection is None
    assert len(eventspool_capture) == 1


def test_asynchronous_code_tracks_at_once(shop, eventspool_capture):
    async def view():
        return on_commit().track("u1", "Ordered")

    assert asyncio.run(view()) == eventspool_capture[0]["messageId"]


def test_every_kind_of_event_waits(shop, eventspool_capture):
    waiting = on_commit()
    with transaction.atomic():
        ids = [
            waiting.identify("u1", {"plan": "pro"}),
            waiting.track("u1", "Ordered"),
            waiting.page("u1", "Shop", "Home"),
            waiting.screen("u1", "Shop", "Start"),
            waiting.group("u1", "g1"),
            waiting.alias("a1", "u1"),
        ]
        assert eventspool_capture == []
    kinds = ["identify", "track", "page", "screen", "group", "alias"]
    assert [(each["type"], each["messageId"]) for each in eventspool_capture] == list(
        zip(kinds, ids, strict=True)
    )


def test_a_wrong_event_is_refused_at_the_call(shop, client, eventspool_capture):
    with transaction.atomic():
        assert on_commit().track("u1", event=None) is None
    assert client.stats().refused == {"invalid": 1}
    assert eventspool_capture == []


def test_an_event_that_is_refused_at_the_commit_is_told(shop, client, caplog):
    with transaction.atomic():
        assert on_commit().track("u1", "Ordered")
        client.close(0.1)
    client._returned.add(
        "nothing"
    )  # for tests/conservation.py, which sees no call of the client's own methods
    assert client.stats().refused == {"closed": 1}
    assert "the client is closed" in caplog.text


def test_the_context_is_that_of_the_call(shop, eventspool_capture):
    with transaction.atomic(), eventspool.context(user_id="u1", context={"step": "inside"}):
        on_commit().track(event="Ordered")
        eventspool.bind(user_id="u2")
    assert eventspool_capture[0]["userId"] == "u1"
    assert eventspool_capture[0]["context"]["step"] == "inside"


def test_a_callback_is_called(shop, plane, no_client):
    called = []
    with eventspool.init(plane.write_key, data_plane_url=plane.url) as client:
        with transaction.atomic():
            given = on_commit().track("u1", "Ordered", callback=lambda *told: called.append(told))
        client._returned.add(
            "id"
        )  # for tests/conservation.py, which sees no call of the client's own methods
        client.flush(timeout=60)
    assert called == [(None, given)]


def test_the_capture_of_a_test_case_is_not_empty(shop, user):
    """Inside a transaction that is never committed, as a TestCase has one."""
    from eventspool.integrations.django.testing import capture_events

    visitor = Client()
    visitor.force_login(user)
    with transaction.atomic():
        with capture_events() as events:
            visitor.get("/orders/?sku=a")
            visitor.get("/orders/?sku=sold-out")
        transaction.set_rollback(True)

    assert [event["properties"]["sku"] for event in events] == ["a"]
    assert events.assert_tracked("Order Completed", user_id=str(user.pk))


# -- the middleware -------------------------------------------------------------------------------------------------------


def middleware(view):
    from eventspool.integrations.django import Middleware

    return Middleware(view)


def test_an_event_knows_its_user_and_request(shop, user, eventspool_capture):
    visitor = Client(headers={"User-Agent": "Mozilla/5.0", "X-Request-ID": "r-1"})
    visitor.force_login(user)
    answer = visitor.get("/orders/?sku=a").json()
    [event] = eventspool_capture

    assert event["messageId"] == answer["event"]
    assert event["userId"] == str(user.pk)
    del event["context"]["library"]
    assert event["context"] == {
        "ip": "127.0.0.1",
        "userAgent": "Mozilla/5.0",
        "page": {"path": "/orders/"},  # the test's client sends no host
        "requestId": "r-1",
    } | ({"page": event["context"]["page"]} if "url" in event["context"]["page"] else {})
    assert nothing_is_left()


def test_an_asynchronous_view_knows_its_user(shop, user, eventspool_capture):
    async def visit():
        visitor = AsyncClient()
        await visitor.aforce_login(user)
        return await visitor.get("/products/a/")

    answer = asyncio.run(visit()).json()
    assert eventspool_capture[0]["messageId"] == answer["event"]
    assert eventspool_capture[0]["userId"] == str(user.pk)


def test_a_user_whom_the_application_has_not_asked_for_is_never_loaded(shop, client, eventspool_capture):
    def load():
        raise AssertionError("the user was loaded")

    def view(request):
        request.user = SimpleLazyObject(load)
        assert eventspool.track(event="Looked") is None  # there is no id
        assert eventspool.current().get("user_id") is None
        eventspool.track(event="Looked", anonymous_id="a1")
        return HttpResponse()

    assert middleware(view)(RequestFactory().get("/")).status_code == 200
    assert client.stats().refused == {"invalid": 1}
    assert [event.get("userId") for event in eventspool_capture] == [None]


def test_a_user_is_known_from_the_moment_that_the_application_asks(shop, user, eventspool_capture):
    def view(request):
        request.user = SimpleLazyObject(lambda: user)
        eventspool.track(event="Before", anonymous_id="a1")
        assert request.user.is_authenticated
        eventspool.track(event="After")
        return HttpResponse()

    middleware(view)(RequestFactory().get("/"))
    assert [event.get("userId") for event in eventspool_capture] == [None, str(user.pk)]


def test_a_visitor_who_is_not_logged_in_has_no_id(shop, eventspool_capture):
    from django.contrib.auth.models import AnonymousUser

    def view(request):
        request.user = AnonymousUser()
        eventspool.track(event="Looked", anonymous_id="a1")
        return HttpResponse()

    middleware(view)(RequestFactory().get("/"))
    assert "userId" not in eventspool_capture[0]


def test_the_scope_covers_a_stream(shop, eventspool_capture):
    def parts():
        for _ in range(2):
            eventspool.track(event="Streamed")
            yield b"x"

    def view(request):
        eventspool.bind(user_id="u1")
        return StreamingHttpResponse(parts())

    response = middleware(view)(RequestFactory().get("/", headers={"X-Request-ID": "r-1"}))
    assert nothing_is_left()
    assert b"".join(response) == b"xx"
    response.close()
    assert [(e["userId"], e["context"]["requestId"]) for e in eventspool_capture] == [("u1", "r-1")] * 2
    assert nothing_is_left()


def test_the_scope_covers_an_asynchronous_stream(shop, eventspool_capture):
    async def parts():
        for _ in range(2):
            eventspool.track(event="Streamed")
            await asyncio.sleep(0)
            yield b"x"

    async def view(request):
        eventspool.bind(user_id="u1")
        return StreamingHttpResponse(parts())

    async def serve():
        request = AsyncRequestFactory().get("/", headers={"X-Request-ID": "r-1"})
        response = await middleware(view)(request)
        body = b""
        async for part in response:
            assert nothing_is_left()
            body += part
        return body

    assert asyncio.run(serve()) == b"xx"
    assert [(e["userId"], e["context"]["requestId"]) for e in eventspool_capture] == [("u1", "r-1")] * 2


def test_a_file_stays_one_that_the_server_can_send(shop):
    def view(request):
        return FileResponse(Path(__file__).open("rb"))

    response = middleware(view)(RequestFactory().get("/"))
    assert response.file_to_stream is not None
    response.close()


def test_two_hundred_requests_at_once_keep_their_users(shop, eventspool_capture):
    together = threading.Barrier(200)

    def view(request):
        request.user = Someone(int(request.META["HTTP_X_USER"]))
        together.wait(60)
        eventspool.track(event="Called", properties={"user": str(request.user.pk)})
        return HttpResponse()

    wrapped = middleware(view)
    requests = [RequestFactory().get("/", headers={"X-User": str(n)}) for n in range(200)]
    threads = [threading.Thread(target=wrapped, args=(request,)) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_users_kept(eventspool_capture)


def test_two_hundred_asynchronous_requests_at_once_keep_their_users(shop, eventspool_capture):
    async def serve():
        together = asyncio.Barrier(200)

        async def view(request):
            request.user = Someone(int(request.META["HTTP_X_USER"]))
            await together.wait()
            eventspool.track(event="Called", properties={"user": str(request.user.pk)})
            return HttpResponse()

        wrapped = middleware(view)
        requests = [AsyncRequestFactory().get("/", headers={"X-User": str(n)}) for n in range(200)]
        await asyncio.gather(*(wrapped(request) for request in requests))

    asyncio.run(serve())
    assert_users_kept(eventspool_capture)


class Someone:
    """A user who is logged in."""

    is_authenticated = True

    def __init__(self, pk):
        self.pk = pk


def assert_users_kept(events):
    assert len(events) == len({event["userId"] for event in events}) == 200
    assert all(event["userId"] == event["properties"]["user"] for event in events)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ipp": True}, "did you mean 'ip'"),
        ({"trusted_proxies": -1}, "trusted_proxies"),
        ("ip", "must be a mapping"),
    ],
)
def test_a_wrong_switch_is_an_error_at_the_start_and_in_a_check(shop, given, message):
    with override_settings(EVENTSPOOL_REQUEST=given):
        with pytest.raises(ConfigError, match=message):
            middleware(lambda request: None)
        assert [each.id for each in checks._check_settings()] == ["eventspool.E001"]


def test_the_switches_stand_in_the_settings(shop, eventspool_capture):
    def view(request):
        eventspool.track("u1", "Looked")
        return HttpResponse()

    with override_settings(EVENTSPOOL_REQUEST={"ip": "anonymize", "page": False, "request_id": False}):
        wrapped = middleware(view)
    wrapped(RequestFactory().get("/", REMOTE_ADDR="203.0.113.9"))
    del eventspool_capture[0]["context"]["library"]
    assert eventspool_capture[0]["context"] == {"ip": "203.0.113.0"}


# -- the start ------------------------------------------------------------------------------------------------------------


def begin(monkeypatch, environment=None, **options):
    """Have the app begin in a process that has no client yet. Return the one that it makes."""
    from eventspool.integrations.django.options import begin_client

    monkeypatch.setattr(_default, "_client", None)
    for name, value in (environment or {}).items():
        monkeypatch.setenv(name, value)
    with override_settings(EVENTSPOOL=options):
        begin_client()
    return _default._client


def test_the_client_is_made_of_settings_and_environment(monkeypatch, no_client):
    environment = {"EVENTSPOOL_WRITE_KEY": "key", "EVENTSPOOL_FLUSH_AT": "7"}
    made = begin(monkeypatch, environment, flush_at=9, timeout=3.0)

    assert (made._opts.write_key, made._opts.flush_at, made._opts.timeout) == ("key", 9, 3.0)


def test_without_a_write_key_events_are_forgotten_aloud(monkeypatch, no_client, caplog):
    made = begin(monkeypatch)

    assert eventspool.track("u1", "Looked")
    assert made.stats().discarded == 1
    assert "there is no write key" in caplog.text


def test_a_misspelt_option_stops_django(monkeypatch, no_client):
    with pytest.raises(ConfigError, match="did you mean 'flush_at'"):
        begin(monkeypatch, {"EVENTSPOOL_WRITE_KEY": "key"}, flushAt=7)


def test_a_client_that_is_there_stays(client):
    from eventspool.integrations.django.options import begin_client

    begin_client()
    assert _default._client is client


# -- checks and commands --------------------------------------------------------------------------------------------------


def found(run):
    return {each.id: each.level for each in run()}


def test_a_check_warns_of_a_missing_key(monkeypatch, no_client):
    begin(monkeypatch)

    assert found(checks._check_settings) == {"eventspool.W001": 30}
    assert checks._check_deployment() == []


def test_a_check_looks_at_a_sqlite_file_and_at_nothing_else(monkeypatch, no_client, plane, tmp_path):
    file = tmp_path / "queue.db"
    file.touch(0o644)
    options = {"data_plane_url": plane.url, "persistence": f"sqlite:///{file}"}
    begin(monkeypatch, {"EVENTSPOOL_WRITE_KEY": "key"}, **options)

    assert found(checks._check_settings) == {"eventspool.sqlite.mode": 30}
    assert plane.stats().connections == 0


def test_a_check_of_a_deployment_examines_the_queue_and_the_data_plane(
    monkeypatch, no_client, plane, redis_store
):
    options = {
        "data_plane_url": plane.url,
        "persistence": {"redis_opts": {"url": redis_store.url}, "queue_name": redis_store.queue_name},
    }
    begin(monkeypatch, {"EVENTSPOOL_WRITE_KEY": "wrong"}, **options)

    messages = found(checks._check_deployment)
    assert messages["eventspool.plane.key"] == 30  # a warning: it must not stop a deployment
    assert any(name.startswith("eventspool.redis.") for name in messages)


def test_the_checks_are_djangos(shop, capsys):
    from django.core.checks.registry import registry

    assert "eventspool" in registry.tags_available(deployment_checks=True)
    call_command("check", tags=["eventspool"])


def test_a_command_has_the_options_of_the_settings(monkeypatch, no_client, plane, tmp_path, capfd):
    url = f"sqlite:///{tmp_path}/queue.db"
    options = {
        "data_plane_url": plane.url,
        "persistence": {"url": url, "queue_name": "shop"},
        "process": False,
    }
    made = begin(monkeypatch, {"EVENTSPOOL_WRITE_KEY": plane.write_key}, **options)
    given = eventspool.track("u1", "Ordered")
    made.flush(until="persisted")
    before = dict(os.environ)
    call_command("eventspool", "worker", "--once")

    assert plane.unique_ids() == [given]
    assert dict(os.environ) == before
    with pytest.raises(SystemExit) as ended:
        call_command("eventspool", "queue", "nonsense")
    assert ended.value.code == 2


def test_manage_py_hands_options_on(monkeypatch, no_client, plane, tmp_path, capfd):
    from django.core.management import execute_from_command_line

    options = {"data_plane_url": plane.url, "persistence": f"sqlite:///{tmp_path}/queue.db"}
    begin(monkeypatch, {"EVENTSPOOL_WRITE_KEY": plane.write_key}, **options)
    execute_from_command_line(["manage.py", "eventspool", "doctor", "--json", "--settings=shop.settings"])

    assert '"healthy": true' in capfd.readouterr().out.lower()
    assert plane.stats().requests == 1


def test_a_command_without_its_packages_says_which(monkeypatch, client):
    monkeypatch.setitem(sys.modules, "click", None)

    with pytest.raises(CommandError, match=r"eventspool\[cli\]"):
        call_command("eventspool", "doctor")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "redis://localhost:6379/0"),
        ({"host": "::1", "port": 7000, "db": 3}, "redis://[::1]:7000/3"),
        (
            {"username": "me", "password": "p/w?:@", "ssl": True},
            "rediss://me:p%2Fw%3F%3A%40@localhost:6379/0",
        ),
        ({"password": "x"}, "redis://:x@localhost:6379/0"),
        ({"url": "redis://r:1/2"}, "redis://r:1/2"),
        ({"url": "redis://r:1/2", "password": "x"}, "redis://:x@r:1/2"),
        (
            {"ssl": True, "ssl_ca_certs": "/a b", "socket_timeout": 1.0},
            "rediss://localhost:6379/0?ssl_ca_certs=%2Fa%20b&socket_timeout=1.0",
        ),
    ],
)
def test_options_of_redis_become_a_url(given, url):
    from eventspool import QueueOpts
    from eventspool.integrations.django.addresses import url_of

    made = url_of(QueueOpts(redis_opts=given))
    assert made == url
    assert QueueOpts(url=made).target


def test_a_password_that_a_function_gives_fits_no_url():
    from eventspool import QueueOpts
    from eventspool.integrations.django.addresses import url_of

    with pytest.raises(ConfigError, match="comes from a function"):
        url_of(QueueOpts(redis_opts={"password": lambda: "x"}))


def test_the_settings_are_the_examples():
    assert settings.ROOT_URLCONF == "shop.urls"
