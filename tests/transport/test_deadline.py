"""One deadline for the whole request, whatever the other side does with its bytes."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time

import pytest

from eventspool._delivery.verdict import Verdict, judge

TIMEOUTS = (0.3, 1.0, 5.0)
"""Seconds. On a busy machine the shortest deadline may be over before the server comes to what it stalls in."""
SLACK = 20.0
"""
How many seconds later than its deadline a request may return on a busy machine. Without a deadline, it would return when the
test ends.
"""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"


def _after_request(act):
    def script(connection):
        connection.request()
        act(connection)

    return script


def _flood(data):
    def act(connection):
        while True:
            connection.send(data * 1_000)

    return act


STALLS = {
    "hangs after accepting": lambda c: c.wait(),
    "hangs after the request": _after_request(lambda c: c.wait()),
    "drips its status line": _after_request(lambda c: c.drip(b"HTTP/1.1 200 " + b"x" * 10_000)),
    "drips its headers": _after_request(lambda c: (c.send(b"HTTP/1.1 200 OK\r\n"), c.drip(b"A: b\r\n"))),
    "drips its body": _after_request(lambda c: (c.send(HEAD), c.drip(b"x"))),
    "drips its chunks": _after_request(
        lambda c: (c.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), c.drip(b"1\r\nx\r\n"))
    ),
    "drips its trailers": _after_request(
        lambda c: (c.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"), c.drip(b"A: b\r\n"))
    ),
    "drips 103": _after_request(lambda c: c.drip(b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.002)),
    "drips 100-continue": _after_request(lambda c: c.drip(b"HTTP/1.1 100 Continue\r\n\r\n", 0.002)),
    "stops in its headers": _after_request(lambda c: (c.send(b"HTTP/1.1 200 OK\r\nA: b"), c.wait())),
    "stops in its body": _after_request(lambda c: (c.send(HEAD + b"x"), c.wait())),
    "stops in a chunk": _after_request(
        lambda c: (c.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), c.wait())
    ),
}


AMID_THE_BODY = (
    "drips its body",
    "drips its chunks",
    "drips its trailers",
    "stops in its body",
    "stops in a chunk",
)


def _timed(transport, body=b"{}"):
    began = time.monotonic()
    result = transport.send(body, gzip=False)
    return result, time.monotonic() - began


def _held(transport, url, *told, body=b"{}"):
    """Return the result of a request that a server holds up, once it comes to what it is *told* of."""
    for timeout in TIMEOUTS:
        result, took = _timed(transport(url, timeout=timeout), body)
        assert timeout * 0.9 < took < timeout + SLACK
        if result.error in told:
            break
    return result


@pytest.mark.parametrize("stall", list(STALLS))
def test_a_server_that_stalls_holds_a_request_no_longer_than_its_deadline(serve, transport, stall):
    server = serve(STALLS[stall])
    if stall in AMID_THE_BODY:
        status, told = 200, f"{server.url} answered 200 but not all of it in time"
    else:
        status, told = None, f"{server.url} did not answer in time"
    result = _held(transport, server.url, told)
    assert (result.status, result.error) == (status, told)
    assert (result.ending, judge(result)) == ("timeout", Verdict.RETRY)


@pytest.mark.parametrize(
    "flood", [b"HTTP/1.1 100 Continue\r\n\r\n", b"A: b\r\n", b"x" * 100, b"HTTP/1.1 200 OK\r\n"]
)
def test_a_server_that_floods_is_cut_off_by_then(serve, transport, flood):
    result, took = _timed(transport(serve(_after_request(_flood(flood))).url, timeout=TIMEOUTS[0]))
    assert result.status is None
    assert took < TIMEOUTS[0] + SLACK


def test_a_server_that_never_reads_holds_a_large_body_no_longer(serve, transport):
    server = serve(lambda c: c.wait())
    result, took = _timed(transport(server.url, timeout=TIMEOUTS[0]), b"x" * 30_000_000)
    assert result.timed_out, result.error
    assert took < TIMEOUTS[0] + SLACK


def test_a_black_hole_holds_a_connection_attempt_no_longer(transport):
    """A full backlog drops the SYN: nothing answers, nothing refuses."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        result, took = _timed(transport(url, timeout=TIMEOUTS[0]))
    assert (result.error, result.timed_out) == (f"{url} did not take the connection in time", True)
    assert took < TIMEOUTS[0] + SLACK


def test_the_addresses_of_one_name_share_the_deadline(transport, monkeypatch):
    """Were each given the whole of it, eight dead addresses would take eight times as long."""
    timeout = 1.5
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        one = (socket.AF_INET, socket.SOCK_STREAM, 6, "", listener.getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: [one] * 8)
        result, took = _timed(transport("http://eight.example", timeout=timeout))
    assert result.error == "http://eight.example did not take the connection in time"
    assert took < 8 * timeout


def test_an_address_that_says_nothing_leaves_time_for_the_next_one(serve, transport, monkeypatch):
    """Of two, it has half of the time; so a host with one dead address is reached."""
    server = serve()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        ports = (listener.getsockname()[1], server.port)
        answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: answers)
        result, took = _timed(transport("http://two.example", timeout=6.0))
    assert result.status == 200
    assert took > 2.7


def test_the_next_address_of_a_name_is_tried_when_one_refuses(serve, transport, monkeypatch):
    server = serve()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = closed.getsockname()
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", at) for at in (dead, ("127.0.0.1", server.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: answers)
    assert transport("http://two.example").send(b"{}", gzip=False).status == 200


@pytest.mark.parametrize(
    "stall",
    [lambda c: c.wait(), lambda c: c.drip(b"\x16\x03\x01\x40\x00" + b"\0" * 99)],
    ids=["silence", "drip"],
)
def test_a_tls_handshake_is_part_of_the_deadline(serve, transport, stall):
    result, took = _timed(transport(f"https://127.0.0.1:{serve(stall).port}", timeout=TIMEOUTS[0]))
    assert result.status is None
    assert took < TIMEOUTS[0] + SLACK


@pytest.mark.parametrize(
    "stall",
    [
        _after_request(lambda c: c.wait()),
        _after_request(lambda c: c.drip(b"HTTP/1.1 200 " + b"x" * 10_000)),
        _after_request(lambda c: (c.send(b"HTTP/1.1 200 OK\r\n"), c.drip(b"A: b\r\n"))),
        _after_request(lambda c: (c.send(b"HTTP/1.1 200 OK\r\n\r\n"), c.wait())),
    ],
    ids=["silence", "status line", "headers", "handshake"],
)
def test_so_is_a_proxys_answer_to_connect(serve, transport, monkeypatch, stall):
    proxy = serve(stall)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    told = (
        f"the proxy {proxy.url} did not answer in time",
        "https://data-plane.example did not finish the TLS handshake in time",
    )
    assert _held(transport, "https://data-plane.example", *told).error in told


def test_a_second_try_on_a_fresh_connection_has_what_is_left_of_the_deadline(serve, transport):
    timeout = 3.0

    def script(connection):
        if connection.number == 1:
            connection.request()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            connection.request()
            time.sleep(timeout * 0.7)
            connection.reset()
        else:
            connection.wait()

    server = serve(script)
    sender = transport(server.url, timeout=timeout)
    assert sender.send(b"{}", gzip=False).status == 200
    result, took = _timed(sender)
    assert result.error == f"{server.url} did not answer in time"
    assert took < timeout * 1.7


def test_a_name_that_does_not_resolve_is_an_outage_like_any_other(transport, monkeypatch):
    def fail(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known: canary")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert (
        transport("http://secret.example").send(b"{}", gzip=False).error
        == "http://secret.example did not resolve"
    )


def test_nobody_listening_is_an_outage_like_any_other(transport):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = transport(f"http://127.0.0.1:{port}").send(b"{}", gzip=False)
    assert (result.status, result.error) == (None, f"http://127.0.0.1:{port} refused the connection")


def test_plain_http_where_tls_was_expected_is_no_answer(serve, transport):
    def script(connection):
        connection.sock.recv(10)
        connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    result = transport(f"https://127.0.0.1:{serve(script).port}").send(b"{}", gzip=False)
    assert result.status is None
    assert "TLS" in result.error or "broke" in result.error
    assert not isinstance(result.error, ssl.SSLError)
