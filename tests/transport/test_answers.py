"""What is read of an answer, and what becomes of its connection."""

from __future__ import annotations

import threading

import pytest

from eventspool._delivery.verdict import MAX_RETRY_AFTER

from .conftest import OK, WRITE_KEY

LIMIT = 256 << 10


def _answering(data, *, then="keep"):
    """Return a script that answers each request with *data*, then keeps, closes or resets the connection."""

    def script(connection):
        while connection.request():
            connection.send(data)
            if then == "close":
                return
            if then == "reset":
                connection.reset()
                return

    return script


def _sized(body, status="200 OK", headers=""):
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _chunked(*chunks):
    framed = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


COMPLETE = {
    "with a length": (_sized(b'{"ok":true}'), b'{"ok":true}', True),
    "in chunks": (_chunked(b'{"ok"', b":true}"), b'{"ok":true}', True),
    "with trailers": (_chunked(b"x")[:-2] + b"A: b\r\n\r\n", b"x", True),
    "without a body": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    "of exactly the limit": (_sized(b"x" * LIMIT), b"x" * LIMIT, True),
    "that closes": (_sized(b"ok", headers="Connection: close\r\n"), b"ok", False),
    "of HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
    "of HTTP/1.0 that keeps alive": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        b"ok",
        True,
    ),
    "over the limit": (_sized(b"x" * (LIMIT + 1)), b"x" * LIMIT, False),
    "far over the limit": (_sized(b"x" * 3_000_000), b"x" * LIMIT, False),
    "over the limit in chunks": (_chunked(b"x" * LIMIT, b"x" * LIMIT), b"x" * LIMIT, False),
    "after 100 Continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + _sized(b"ok"), b"ok", True),
}


@pytest.mark.parametrize("answer", list(COMPLETE))
def test_an_answer_is_read_up_to_the_limit_and_its_connection_reused_only_when_it_is_clean(
    serve, transport, answer
):
    data, body, reused = COMPLETE[answer]
    server = serve(_answering(data))
    sender = transport(server.url)
    for _ in range(2):
        result = sender.send(b"{}", gzip=False)
        assert (result.status, result.error) == (204 if b" 204 " in data else 200, "")
        assert result.body == body
    assert len(server.connections) == (1 if reused else 2)


def test_a_body_that_ends_with_the_connection_is_complete(serve, transport):
    server = serve(_answering(b"HTTP/1.1 200 OK\r\n\r\nok", then="close"))
    assert transport(server.url).send(b"{}", gzip=False).body == b"ok"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    ],
)
def test_of_a_body_without_end_the_limit_are_read(serve, transport, head):
    def script(connection):
        while connection.request():
            connection.send(head)
            while True:
                connection.send(b"x" * 100_000)

    server = serve(script)
    sender = transport(server.url)
    for _ in range(2):
        result = sender.send(b"{}", gzip=False)
        assert (result.status, len(result.body)) == (200, LIMIT)
    assert len(server.connections) == 2


def test_a_server_that_stalls_behind_the_the_limit_does_not_hold_the_request(serve, transport):
    def script(connection):
        connection.request()
        connection.send(_sized(b"x" * (LIMIT + 100))[:-100])
        connection.wait()

    assert transport(serve(script).url, timeout=5.0).send(b"{}", gzip=False).status == 200


CUT_OFF = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 20",
    "half a header": b"HTTP/1.1 200 OK\r\nContent-Le",
    "headers without an end": b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n",
    "no body": b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n",
    "half a body": OK[:-3],
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
}


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("sent", list(CUT_OFF))
def test_an_answer_that_is_cut_off_is_no_answer(serve, transport, sent, then):
    """It might have named the events that were rejected."""
    server = serve(_answering(CUT_OFF[sent], then=then))
    result = transport(server.url).send(b"{}", gzip=False)
    assert result.status is None
    assert result.error in ("the data plane broke the connection off", "the data plane did not speak HTTP")


@pytest.mark.parametrize(
    "junk",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"\0" * 100,
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 OK 200\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 -1 OK\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"9" * 70_000,
    ],
)
def test_junk_is_no_answer(serve, transport, junk):
    result = transport(serve(_answering(junk, then="close")).url).send(b"{}", gzip=False)
    assert result.status is None
    assert result.error in (
        "the data plane broke the connection off",
        "the data plane did not speak HTTP",
        "the data plane was not reachable (ValueError)",
    )


@pytest.mark.parametrize("size", [b"-1", b"-ffff"])
def test_a_chunk_of_a_negative_size_is_not_read_without_bound(serve, transport, size):
    sent = threading.Event()

    def script(connection):
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n")
        try:
            for _ in range(1_000):
                connection.send(b"x" * 100_000)
            sent.set()
        except OSError:
            pass

    result = transport(serve(script).url).send(b"{}", gzip=False)
    assert result.status is None
    assert not sent.is_set(), "a hundred megabytes were read"


@pytest.mark.parametrize(
    ("header", "seconds"), [("120", 120.0), ("junk", None), ("99999999", MAX_RETRY_AFTER), ("-1", 0.0)]
)
def test_retry_after_is_handed_on(serve, transport, header, seconds):
    server = serve(_answering(_sized(b"", "503 Busy", f"Retry-After: {header}\r\n")))
    result = transport(server.url).send(b"{}", gzip=False)
    assert (result.status, result.retry_after) == (503, seconds)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(serve, transport, status):
    """The write key goes where it was sent, and nowhere else."""
    other = serve()
    answer = _sized(b"", f"{status} Moved", f"Location: {other.url}/v1/batch\r\n")
    assert transport(serve(_answering(answer)).url).send(b"{}", gzip=False).status == status
    assert other.connections == []


def test_an_interim_answer_never_stands_in_for_the_next_requests_answer(serve, transport):
    """103 comes first, and the real answer so late that it could be taken for that of the next request."""

    def script(connection):
        connection.request()
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        if connection.request():
            connection.send(_sized(b"", "401 Unauthorized"))  # that of the first request

    server = serve(script)
    sender = transport(server.url, timeout=1.0)
    statuses = {sender.send(b"{}", gzip=False).status for _ in range(2)}
    assert 401 not in statuses
    assert len(server.connections) == 2


@pytest.mark.parametrize("cut", [*range(0, 60, 7), "reset"])
def test_no_error_repeats_the_write_key_the_body_or_the_answer(serve, transport, cut):
    answer = _sized(b"secret", "200 secret", "X: secret\r\n")
    script = _answering(b"", then="reset") if cut == "reset" else _answering(answer[:cut], then="close")
    result = transport(serve(script).url).send(b'{"secret":1}', gzip=False)
    assert "secret" not in result.error
    assert "secret" not in result.describe()
    assert WRITE_KEY not in repr(result)
