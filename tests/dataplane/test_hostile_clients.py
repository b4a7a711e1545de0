"""Too large, too slow, too many, or no HTTP at all: refused within bounds, and nobody else notices."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib

import pytest

MIB = 1 << 20


def test_a_large_body_is_refused_before_it_is_sent(start_plane, dial, headers, read_all, raw_post):
    plane = start_plane(max_body_bytes=1000)
    sock = dial(plane)
    sock.sendall(raw_post(b"", headers(), "Content-Length: 1001", "Expect: 100-continue"))

    assert read_all(sock).startswith(b"HTTP/1.1 413 ")


def test_the_answer_to_a_large_body_survives_the_body(start_plane, dial, headers, read_all, raw_post):
    """A server that closes on unread input resets the connection, and the client never sees why."""
    plane = start_plane(max_body_bytes=1000)
    sock = dial(plane)
    sock.sendall(raw_post(bytes(4 * MIB), headers(), f"Content-Length: {4 * MIB}"))

    assert read_all(sock).startswith(b"HTTP/1.1 413 ")
    assert plane.stats().statuses == {"413": 1}


def test_a_chunked_body_is_read_with_the_same_limit(
    start_plane, dial, headers, read_all, event, batch_of, raw_post
):
    plane = start_plane(max_body_bytes=1000)
    body = gzip.compress(batch_of([event("a")]))
    chunks = (
        b"5;x=y\r\n" + body[:5] + b"\r\n%x\r\n" % (len(body) - 5) + body[5:] + b"\r\n0\r\nTrailer: 1\r\n\r\n"
    )
    sock = dial(plane)
    sock.sendall(raw_post(chunks, headers(), "Transfer-Encoding: chunked", "Connection: close"))
    assert read_all(sock).startswith(b"HTTP/1.1 200 ")
    assert plane.unique_ids() == ["a"]

    sock = dial(plane)
    sock.sendall(raw_post(b"3e9\r\n" + bytes(1001), headers(), "Transfer-Encoding: chunked"))
    assert read_all(sock).startswith(b"HTTP/1.1 413 ")


def test_a_bomb_is_refused_within_bounded_memory(plane, dial, headers, read_all, raw_post):
    """130 KB that inflate to 128 MiB, over the wire."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(MIB)) for _ in range(128)) + packer.flush()
    request = raw_post(bomb, headers(), f"Content-Length: {len(bomb)}", "Connection: close")
    sock = dial(plane)
    tracemalloc.start()
    try:
        sock.sendall(request)
        answer = read_all(sock)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert peak < 8 * MIB


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\x00" * 100, 400),
        (b"hello\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"POST /v1/batch HTTP/9.9\r\n\r\n", 505),
        (b"POST v1/batch HTTP/1.1\r\n\r\n", 400),
        (b"POST /v1/batch HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST /v1/batch HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"POST /v1/batch HTTP/1.1\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", 431),
        (b"POST /v1/batch HTTP/1.1\r\n\r\n", 411),
        (b"POST /v1/batch HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /v1/batch HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /v1/batch HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /v1/batch HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /v1/batch HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /v1/batch HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", 400),
        (b"POST /v1/batch HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2000, 400),
    ],
)
def test_junk_is_answered_and_harms_nobody(plane, dial, call, read_all, event, request_bytes, status):
    sock = dial(plane)
    sock.sendall(request_bytes)

    assert read_all(sock).startswith(b"HTTP/1.1 %d " % status)
    assert call(plane).post(event())[0] == 200


def test_a_client_that_leaves_in_the_middle_harms_nobody(plane, dial, call, headers, event, raw_post):
    for part in (b"", b"POST /v1", raw_post(b"half", headers(), "Content-Length: 100")):
        sock = dial(plane)
        sock.sendall(part)
        sock.close()

    assert call(plane).post(event())[0] == 200
    assert plane.stats().events == 1


@pytest.mark.parametrize(
    ("opening", "drip"),
    [
        (b"POST /v1/batch HTTP/1.1\r\n", b"X: y\r\n"),
        (b"POST /v1/batch HTTP/1.1\r\nContent-Length: 100000\r\n\r\n", b"x"),
    ],
)
def test_a_slow_client_is_cut_off_by_one_deadline_however_often_it_sends(start_plane, dial, opening, drip):
    plane = start_plane(read_timeout=0.3)
    sock = dial(plane)
    sock.settimeout(0.05)
    started = time.monotonic()
    sock.sendall(opening)
    answer = b""
    while not answer:
        assert time.monotonic() - started < 60
        try:
            answer = sock.recv(65536)
        except TimeoutError:
            sock.sendall(drip)

    assert answer.startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_closed_without_a_word(start_plane, dial):
    plane = start_plane(idle_timeout=0.1)

    assert dial(plane).recv(1) == b""


def test_a_connection_too_many_is_reset_and_the_others_go_on(start_plane, call, dial, event):
    plane = start_plane(max_connections=1)
    caller = call(plane)
    assert caller.post(event())[0] == 200

    with pytest.raises(ConnectionResetError):
        dial(plane).recv(1)
    assert caller.post(event())[0] == 200
