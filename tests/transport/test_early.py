"""Answers that come before the request was written to its end."""

from __future__ import annotations

import ssl
import threading
import time

import pytest
import trustme

from eventspool._delivery.verdict import Verdict, judge

from .conftest import OK

BODY = b"x" * 30_000_000
"""More than the buffers of two sockets on one machine hold."""
ENDS = ["close", "reset", "keep"]


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(params=["plain", "tls"])
def early(request, serve, transport, authority, tmp_path):
    """Return a function that starts a server, by itself or behind TLS, and makes a transport to it."""

    def start(script, **options):
        if request.param == "plain":
            server = serve(script)
            return server, transport(server.url, **options)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        server = serve(script, wrap=lambda sock: context.wrap_socket(sock, server_side=True))
        url = f"https://127.0.0.1:{server.port}"
        return server, transport(url, ca_file=str(tmp_path / "ca.pem"), **options)

    return start


def _head(connection):
    """Read a little of a request: its head, and not much more."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.sock.recv(1_024)
    return data


def _refusing(answer, end):
    def script(connection):
        _head(connection)
        connection.send(answer)
        if end == "reset":
            connection.reset()
        elif end == "keep":
            connection.wait()

    return script


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("status", [400, 401, 413, 421, 429, 503])
def test_a_refusal_of_the_head_alone_is_read_and_the_body_left_unwritten(early, status, end):
    """Also where the data plane neither reads on nor closes: nobody writes until the deadline then."""
    answer = f"HTTP/1.1 {status} No\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nno!!".encode()
    server, sender = early(_refusing(answer, end), timeout=90.0)
    began = time.monotonic()
    for _ in range(2):
        result = sender.send(BODY, gzip=False)
        assert (result.status, result.error, result.retry_after) == (status, "", 7.0)
        assert result.body in (b"no!!", b"")  # a reset may take the text away
    assert time.monotonic() - began < 60.0
    assert len(server.connections) == 2, "a connection with half a request on it is never used again"


@pytest.mark.parametrize("end", ENDS)
def test_interim_answers_before_an_early_refusal_are_passed_over(early, end):
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n"
    _, sender = early(_refusing(answer, end))
    assert sender.send(BODY, gzip=False).status == 413


def test_an_interim_answer_amid_the_body_does_not_end_it(early):
    got = []

    def script(connection):
        while head := _head(connection):
            connection.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            left = len(BODY) - len(head.partition(b"\r\n\r\n")[2])
            while left:
                left -= len(connection.sock.recv(min(left, 1 << 20)))
            got.append(left)
            connection.send(OK)

    server, sender = early(script, timeout=60.0)
    assert [sender.send(BODY, gzip=False).status for _ in range(2)] == [200, 200]
    assert (got, len(server.connections)) == ([0, 0], 1)


def test_a_data_plane_may_take_a_batch_in_while_it_answers(early):
    """A 2xx that begins early does not stop the body: what is not written could not be taken."""
    taken = []

    def script(connection):
        head = _head(connection)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n")
        left = len(BODY) - len(head.partition(b"\r\n\r\n")[2])
        while left:
            left -= len(connection.sock.recv(min(left, 1 << 20)))
        taken.append(True)
        connection.send(b'{"ok":true}')
        connection.wait()

    _, sender = early(script, timeout=60.0)
    result = sender.send(BODY, gzip=False)
    assert (result.status, result.error, result.body, taken) == (200, "", b'{"ok":true}', [True])


@pytest.mark.parametrize("end", ENDS)
def test_an_early_2xx_of_a_data_plane_that_does_not_read_on_is_no_delivery(early, end):
    server, sender = early(_refusing(OK, end), timeout=1.0)
    result = sender.send(BODY, gzip=False)
    assert judge(result) is Verdict.RETRY
    assert str(server.port) in result.describe()


def test_a_data_plane_that_closes_amid_the_body_without_a_word_is_an_outage(early):
    _, sender = early(_refusing(b"", "close"))
    result = sender.send(BODY, gzip=False)
    assert (result.status, result.describe()) == (None, f"{sender._origin} broke the connection off")


def test_a_slow_reader_gets_the_whole_body_and_its_answer_counts(early):
    """What fills the buffers is waited for, not given up."""
    sizes = []

    def script(connection):
        head = _head(connection)
        left = 8_000_000 - len(head.partition(b"\r\n\r\n")[2])
        pause = threading.Event()
        while left:
            left -= len(connection.sock.recv(min(left, 400_000)))
            pause.wait(0.001)
        sizes.append(left)
        connection.send(OK)
        connection.wait()

    _, sender = early(script, timeout=60.0)
    assert (sender.send(BODY[:8_000_000], gzip=False).status, sizes) == (200, [0])


def test_an_answer_that_never_ends_while_the_body_is_written_is_left(early):
    def script(connection):
        _head(connection)
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.send(b"x" * 100_000)

    _, sender = early(script, timeout=90.0)
    began = time.monotonic()
    assert judge(sender.send(BODY, gzip=False)) is Verdict.RETRY
    assert time.monotonic() - began < 60.0
