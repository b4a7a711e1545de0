"""One server of each kind for the whole session; a fresh queue for each test."""

from __future__ import annotations

import socket

import pytest
import redis

from redis_servers import available_servers, make_backend, new_queue_name, running


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
def unused_port():
    """A port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
