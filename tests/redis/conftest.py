"""One server of each kind for the whole session; a fresh queue for each test."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack

import pytest
import redis

from partitioned_queues import make_partitioned
from redis_servers import NEWEST, available_servers, make_backend, new_queue_name, running


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    Have the tests on other servers than the newest Redis rotate by commit (see ``shares``), and those of middle-aged drivers.

    With ``EVENTSPOOL_TEST_SERVERS=newest`` leave out all but the newest Redis: an older driver meets each command there.
    """
    servers = {item: _servers_of(item) for item in items}
    for item in items:
        if item.get_closest_marker("rotating"):
            continue
        if servers[item] and NEWEST[0] not in servers[item]:
            item.add_marker(pytest.mark.rotating("other servers"))
        elif os.environ.get("EVENTSPOOL_TEST_REDIS_PY"):
            item.add_marker(pytest.mark.rotating("other drivers"))
    if os.environ.get("EVENTSPOOL_TEST_SERVERS") == "newest":
        left_out = [item for item in items if servers[item] and NEWEST[0] not in servers[item]]
        items[:] = [item for item in items if item not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)


def _servers_of(item: pytest.Item) -> set[str]:
    given = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return {value for value in given if isinstance(value, str)} & set(available_servers())


@pytest.fixture(scope="session", params=list(available_servers()))
def any_server(request):
    """A server of each kind in turn."""
    with running(request.param) as server:
        yield server


@pytest.fixture(scope="session", params=[n for n in available_servers() if n != "valkey-8.1"])
def server(request):
    """The oldest server and the newest ones."""
    with running(request.param) as server:
        yield server


@pytest.fixture
def raw(server):
    """A plain client, to look and to meddle."""
    with redis.Redis.from_url(server.url, protocol=2) as client:
        yield client


@pytest.fixture
def make(server, request):
    """Make opened handles on this test's own queue."""
    name = new_queue_name()
    made = []

    def factory(**options):
        backend = make_backend(server, queue_name=name, **options)
        backend.open()
        made.append(backend)
        return backend

    factory.prefix = f"test:{{{name}:0}}:"
    yield factory
    for backend in made:
        backend.close()


@pytest.fixture
def backend(make):
    """An opened backend on this test's own queue."""
    return make()


@pytest.fixture
def factory(server):
    """Make opened handles on this test's own queue over several partitions."""
    name = new_queue_name()
    with ExitStack() as stack:

        def make(servers=None, **options):
            backend = make_partitioned(servers or [server], name, **options)
            stack.callback(backend.close)
            backend.open()
            return backend

        yield make


@pytest.fixture
def unused_port():
    """A port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
