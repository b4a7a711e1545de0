"""What is read of an answer, and what becomes of its connection."""

from __future__ import annotations

import gzip
import threading
import time
import zlib

import pytest

from eventspool._delivery.verdict import MAX_RETRY_AFTER, Verdict, judge

from .conftest import OK, WRITE_KEY

LIMIT = 16 << 20


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
    "of exactly the limit in chunks": (_chunked(*[b"x" * (LIMIT // 4)] * 4), b"x" * LIMIT, True),
    "of many small chunks": (_chunked(*[b"x"] * 2_000), b"x" * 2_000, True),
    "with chunk extensions": (_chunked(b"ok").replace(b"2\r\n", b'2 ;a="b"\r\n'), b"ok", True),
    "with a length twice": (_sized(b"ok", headers="Content-Length: 2\r\n"), b"ok", True),
    "with chunks and a length": (
        _chunked(b"ok").replace(b"\r\n\r\n", b"\r\nContent-Length: 99\r\n\r\n", 1),
        b"ok",
        False,
    ),
    "with bare line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"ok", True),
    "without a reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
    "with a folded header": (
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length:\r\n\t2\r\n\r\nok",
        b"ok",
        True,
    ),
    "with odd headers": (
        b"HTTP/1.1 200 OK\r\nno colon\r\n: no name\r\nB\xc3\xbc: \xff\r\nCONTENT-LENGTH : 2\r\n\r\nok",
        b"ok",
        True,
    ),
    "with a thousand headers": (_sized(b"ok", headers="A: b\r\n" * 1_000), b"ok", True),
    "with a long header": (_sized(b"ok", headers=f"A: {'b' * 200_000}\r\n"), b"ok", True),
    "with a long reason": (_sized(b"ok", status="200 " + "x" * 70_000), b"ok", True),
    "that closes": (_sized(b"ok", headers="Connection: close\r\n"), b"ok", False),
    "of HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
    "of HTTP/1.0 that keeps alive": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        b"ok",
        True,
    ),
    "after 100 Continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + _sized(b"ok"), b"ok", True),
    "after 102 Processing": (b"HTTP/1.1 102 Processing\r\n\r\n" + _sized(b"ok"), b"ok", True),
    "after 103 Early Hints": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nContent-Length: 99\r\n\r\n" + _sized(b"ok"),
        b"ok",
        True,
    ),
    "after one that nobody knows": (
        b"HTTP/1.1 199 Hm\r\nConnection: close\r\n\r\n" + _sized(b"ok"),
        b"ok",
        True,
    ),
    "after several": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" * 300
        + _sized(b"ok"),
        b"ok",
        True,
    ),
    "inflated": (
        _sized(gzip.compress(b'{"ok":true}'), headers="Content-Encoding: gzip\r\n"),
        b'{"ok":true}',
        True,
    ),
    "deflated": (
        _sized(zlib.compress(b'{"ok":true}'), headers="Content-Encoding: Deflate\r\n"),
        b'{"ok":true}',
        True,
    ),
}


@pytest.mark.parametrize("answer", list(COMPLETE))
def test_an_answer_is_read_up_to_the_limit_and_its_connection_reused_only_when_it_is_clean(
    serve, transport, answer
):
    data, body, reused = COMPLETE[answer]
    server = serve(_answering(data))
    sender = transport(server.url, timeout=20.0)
    for _ in range(2):
        result = sender.send(b"{}", gzip=False)
        assert (result.status, result.error) == (204 if b" 204 " in data else 200, "")
        assert result.body == body
    assert len(server.connections) == (1 if reused else 2)


@pytest.mark.parametrize("cut", [1, 2, 9, 20])
def test_an_answer_may_come_in_pieces_of_any_size(serve, transport, cut):
    data = b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" + _chunked(b'{"ok"', b":true}")[:-2] + b"T: u\r\n\r\n"

    def script(connection):
        while connection.request():
            for begin in range(0, len(data), cut):
                connection.send(data[begin : begin + cut])

    server = serve(script)
    sender = transport(server.url)
    assert [sender.send(b"{}", gzip=False).body for _ in range(3)] == [b'{"ok":true}'] * 3
    assert len(server.connections) == 1


def test_a_body_that_ends_with_the_connection_is_complete(serve, transport):
    server = serve(_answering(b"HTTP/1.1 200 OK\r\n\r\nok", then="close"))
    assert transport(server.url).send(b"{}", gzip=False).body == b"ok"


TOO_LONG = {
    "with its length": _sized(b"x" * (LIMIT + 1)),
    "in chunks": _chunked(b"x" * LIMIT, b"x"),
    "inflated": _sized(gzip.compress(b"x" * (LIMIT + 1), 1), headers="Content-Encoding: gzip\r\n"),
}


@pytest.mark.parametrize("answer", list(TOO_LONG))
def test_of_a_batch_whose_answer_is_too_long_nobody_knows_what_was_taken(serve, transport, answer):
    server = serve(_answering(TOO_LONG[answer]))
    result = transport(server.url, timeout=20.0).send(b"{}", gzip=False)
    assert (result.status, result.body) == (200, b"")
    assert result.describe() == f"{server.url} answered 200 with more than 16 MiB"
    assert (judge(result), result.ending) == (Verdict.RETRY, "error")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 9_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    ],
)
def test_a_body_without_end_is_left_at_the_limit(serve, transport, head):
    def script(connection):
        while connection.request():
            connection.send(head)
            while True:
                connection.send(b"x" * 100_000)

    server = serve(script)
    sender = transport(server.url, timeout=20.0)
    for _ in range(2):
        result = sender.send(b"{}", gzip=False)
        assert result.describe() == f"{server.url} answered 200 with more than 16 MiB"
    assert len(server.connections) == 2


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress"])
def test_a_body_in_a_coding_that_was_not_asked_for_and_is_not_known_is_no_delivery(serve, transport, coding):
    server = serve(_answering(_sized(b"junk", headers=f"Content-Encoding: {coding}\r\n")))
    result = transport(server.url).send(b"{}", gzip=False)
    assert result.describe() == f"{server.url} answered 200 in a coding that was not asked for"
    assert judge(result) is Verdict.RETRY


@pytest.mark.parametrize(
    "body",
    [b"junk", gzip.compress(b"{}")[:-1], gzip.compress(b"{}") + b"x", gzip.compress(b"{}") * 2],
    ids=["junk", "cut off", "something behind it", "two of them"],  # their bytes hold the time of day
)
def test_a_body_that_cannot_be_inflated_is_no_delivery(serve, transport, body):
    server = serve(_answering(_sized(body, headers="Content-Encoding: gzip\r\n")))
    result = transport(server.url).send(b"{}", gzip=False)
    assert result.describe() == f"{server.url} answered 200 with a body that cannot be inflated"
    assert judge(result) is Verdict.RETRY


@pytest.mark.parametrize("status", ["500 Oops", "400 Bad Request", "302 Found"])
@pytest.mark.parametrize("size", [60 << 10, 3_000_000])
def test_of_an_answer_that_takes_nothing_only_the_beginning_is_kept(serve, transport, status, size):
    """Where little is left of it, it is read to its end, so that its connection can be used again."""
    server = serve(_answering(_sized(b"x" * size, status)))
    sender = transport(server.url)
    for _ in range(2):
        result = sender.send(b"{}", gzip=False)
        assert (str(result.status), result.error) == (status.split()[0], "")
        assert result.body == b"x" * 4096
    assert len(server.connections) == (1 if size < 64 << 10 else 2)


@pytest.mark.parametrize("then", ["close", "reset", "keep"])
@pytest.mark.parametrize("status", [400, 401, 413, 429, 503])
def test_a_status_counts_although_the_rest_of_a_refusal_never_comes(serve, transport, status, then):
    server = serve(_answering(_sized(b"x" * 100, f"{status} No", "Retry-After: 7\r\n")[:-50], then=then))
    began = time.monotonic()
    result = transport(server.url, timeout=90.0).send(b"{}", gzip=False)
    assert (result.status, result.error, result.retry_after) == (status, "", 7.0)
    assert time.monotonic() - began < 60.0, (
        "the status says enough: nobody waits for the text until the deadline"
    )


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
    if b"\r\n\r\n" in CUT_OFF[sent]:
        assert (result.status, result.describe()) == (
            200,
            f"{server.url} answered 200 and broke the answer off",
        )
    else:
        assert (result.status, result.describe()) == (None, f"{server.url} broke the connection off")
    assert (judge(result), result.ending) == (Verdict.RETRY, "error")


@pytest.mark.parametrize(
    "junk",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"\0" * 100,
        b"\r\n" + OK,
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 OK 200\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 -1 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 1_100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200_000 + b"\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 50_000 + OK,
    ],
)
def test_junk_is_no_answer(serve, transport, junk):
    def script(connection):
        connection.request()
        connection.send(junk)
        connection.wait()

    server = serve(script)
    result = transport(server.url, timeout=20.0).send(b"{}", gzip=False)
    assert (result.status, result.describe()) == (None, f"{server.url} did not speak HTTP")


@pytest.mark.parametrize(
    "headers",
    [
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + b"9" * 70_000 + b"\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 17_000_000,
        b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
        b"Content-Length: -2\r\n\r\nok",
        b"Content-Length: 2x\r\n\r\nok",
        b"Content-Length: \xb2\r\n\r\nok",
        b"Content-Length: ,\r\n\r\nok",
    ],
)
def test_a_body_that_is_framed_like_nothing_is_no_delivery(serve, transport, headers):
    server = serve(_answering(b"HTTP/1.1 200 OK\r\n" + headers))
    result = transport(server.url, timeout=20.0).send(b"{}", gzip=False)
    told = f"{server.url} answered 200 with a body that is not framed as HTTP wants it"
    assert (result.status, result.describe(), judge(result)) == (200, told, Verdict.RETRY)


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
    assert (result.status, judge(result)) == (200, Verdict.RETRY)
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
    sender = transport(server.url, timeout=2.0)
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
