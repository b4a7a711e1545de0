"""Addresses of every kind, networks that have not all of them, and the words for what went wrong."""

from __future__ import annotations

import errno
import resource
import socket

import pytest

from .conftest import WRITE_KEY

REAL_SOCKET = socket.socket


def _answer_with(monkeypatch, *addresses):
    """Have every name lead to these (family, address) pairs."""
    found = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: found)


def _break_ipv6(monkeypatch, error, *, at):
    """Have what *at* names fail for IPv6, as on a machine without it."""

    class Broken(REAL_SOCKET):
        def __init__(self, family=-1, *args, **options):
            if at == "socket" and family == socket.AF_INET6:
                raise OSError(error, "canary")
            super().__init__(family, *args, **options)

        def connect(self, address):
            if at == "connect" and self.family == socket.AF_INET6:
                raise OSError(error, "canary")
            super().connect(address)

    monkeypatch.setattr(socket, "socket", Broken)


@pytest.mark.parametrize(
    ("error", "at"),
    [
        (errno.EAFNOSUPPORT, "socket"),
        (errno.EPROTONOSUPPORT, "socket"),
        (errno.ENETUNREACH, "connect"),
        (errno.EHOSTUNREACH, "connect"),
        (errno.EADDRNOTAVAIL, "connect"),
        (errno.EACCES, "connect"),
        (errno.ECONNRESET, "connect"),
        (errno.ETIMEDOUT, "connect"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_an_address_of_a_family_that_does_not_work_leaves_the_other(
    serve, transport, monkeypatch, error, at, first
):
    server = serve()
    pairs = [(socket.AF_INET6, ("::1", server.port, 0, 0)), (socket.AF_INET, ("127.0.0.1", server.port))]
    _answer_with(monkeypatch, *(pairs if first else pairs[::-1]))
    _break_ipv6(monkeypatch, error, at=at)
    assert transport("http://plane.example").send(b"{}", gzip=False).status == 200


def test_where_no_address_works_the_most_telling_error_is_told(transport, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = listener.getsockname()
    pairs = [(socket.AF_INET, gone), (socket.AF_INET6, ("::1", 9, 0, 0))]
    _break_ipv6(monkeypatch, errno.EAFNOSUPPORT, at="socket")
    for order in (pairs, pairs[::-1]):
        _answer_with(monkeypatch, *order)
        error = transport("http://plane.example").send(b"{}", gzip=False).error
        assert error == "http://plane.example refused the connection"
    _answer_with(monkeypatch, pairs[1])
    error = transport("http://plane.example:8080").send(b"{}", gzip=False).error
    assert error == "http://plane.example:8080 was not reachable (EAFNOSUPPORT)"
    _answer_with(monkeypatch)
    assert (
        transport("http://plane.example")
        .send(b"{}", gzip=False)
        .error.startswith("http://plane.example was not")
    )


@pytest.mark.parametrize("host", ["[::1]", "[::1%251]", "[::1%1]"])
def test_a_data_plane_may_be_at_an_ipv6_address(serve, transport, host):
    """The zone of an address means something to this machine only: it is not sent."""
    server = serve(family=socket.AF_INET6)
    assert transport(f"http://{host}:{server.port}").send(b"{}", gzip=False).status == 200
    assert f"\r\nHost: [::1]:{server.port}\r\n".encode() in server.requests[0][1]


@pytest.mark.parametrize("name", ["data..plane.example", f"{'a' * 64}.example", "nowhere.invalid"])
def test_a_name_that_leads_nowhere_is_told(transport, name):
    assert transport(f"https://{name}").send(b"{}", gzip=False).error == f"https://{name} did not resolve"


def test_running_out_of_file_descriptors_is_told_for_what_it_is(transport):
    """The data plane is well; it is this process that can open nothing."""
    sender = transport("http://127.0.0.1:9")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as lowest:
        free = lowest.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        result = sender.send(b"{}", gzip=False)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (result.status, result.error) == (None, "no file descriptor was left to reach http://127.0.0.1:9")


@pytest.mark.parametrize("status", [400, 401, 404, 413, 421, 429, 503, 302])
def test_one_line_says_host_and_answer(serve, transport, status):
    server = serve(
        lambda c: c.answer(f"HTTP/1.1 {status} canary\r\nContent-Length: 6\r\n\r\ncanary".encode())
    )
    result = transport(server.url + "/base").send(b"{}", gzip=False)
    assert result.describe() == f"{server.url} answered {status}"
    assert WRITE_KEY not in result.describe() + repr(result)
