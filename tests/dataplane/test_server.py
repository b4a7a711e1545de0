"""The data plane as a server: what it counts, whom it lets in, and what it survives."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading
import time
import tracemalloc
import zlib

import pytest

from eventspool._dataplane import DataPlane

MIB = 1 << 20


def post_bytes(body, headers, *lines):
    """Return the bytes of a request that posts *body*."""
    head = ["POST /v1/batch HTTP/1.1", "Host: localhost", *(f"{k}: {v}" for k, v in headers.items()), *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def test_a_batch_is_received(plane, call, event):
    answer = call(plane).post(event("a"), event("b", type="identify"))

    assert answer[:2] == (200, {"ok": True})
    assert plane.unique_ids() == ["a", "b"]
    assert [each["type"] for each in plane.events] == ["track", "identify"]
    assert plane.received("a") == 1
    assert plane.received("c") == 0


def test_a_body_need_not_be_compressed(plane, call, event, batch_of, headers):
    wanted = headers()
    del wanted["Content-Encoding"]

    assert call(plane).send(batch_of([event()]), wanted)[0] == 200


def test_urllib3_finds_a_server_it_can_keep_a_connection_to(plane, event, batch_of, headers):
    import urllib3

    with urllib3.PoolManager() as pool:
        for _ in range(3):
            answer = pool.request(
                "POST", f"{plane.url}/v1/batch", body=gzip.compress(batch_of([event()])), headers=headers()
            )
            assert (answer.status, answer.json()) == (200, {"ok": True})

    assert (plane.stats().requests, plane.stats().connections) == (3, 1)


@pytest.mark.parametrize("write_key", ["", "wrong", "local-write-key2"])
def test_a_wrong_write_key_is_answered_with_401(plane, call, event, write_key):
    status, body, headers = call(plane).post(event(), write_key=write_key)

    assert (status, body["ok"]) == (401, False)
    assert headers["WWW-Authenticate"].startswith("Basic")
    assert plane.stats().events == 0


def test_a_missing_or_foreign_authorization_is_answered_with_401(plane, call, event, batch_of, headers):
    caller = call(plane)
    body = gzip.compress(batch_of([event()]))

    assert caller.send(body, headers(Authorization="Bearer local-write-key"))[0] == 401
    wanted = headers()
    del wanted["Authorization"]
    assert caller.send(body, wanted)[0] == 401


def test_without_a_write_key_everybody_is_let_in(start_plane, call, event):
    plane = start_plane(write_key=None)

    assert call(plane).post(event(), write_key="anything")[0] == 200


def test_an_invalid_event_refuses_the_batch_and_is_named(plane, call, event):
    status, body, _ = call(plane).post(event(), event(), event(timestamp="x"))

    assert (status, body["index"]) == (400, 2)
    assert "timestamp" in body["message"]
    assert plane.stats().events == 0


def test_with_partial_failures_the_other_events_are_taken(start_plane, call, event):
    plane = start_plane(partial_failures=True)

    status, body, _ = call(plane).post(event("a"), event("b", type="?"), event("c"), event("d", userId=None))

    assert (status, body["ok"]) == (200, False)
    assert [each["index"] for each in body["errors"]] == [1, 3]
    assert plane.unique_ids() == ["a", "c"]
    assert plane.stats().rejected == 2


def test_duplicates_and_changed_events_are_told_apart(plane, call, event):
    caller = call(plane)
    caller.post(event("a"), event("b"))
    caller.post(event("a"))
    caller.post(event("b", properties={"total": 1}))
    caller.post(event("b"))

    stats = plane.stats()
    assert (stats.events, stats.unique, stats.duplicates, stats.changed) == (5, 2, 3, 1)
    assert stats.changed_ids == ("b",)
    assert plane.received("b") == 3
    assert plane.unique_ids() == ["a", "b"]


def test_the_same_fields_in_another_order_are_other_bytes(plane, call, event):
    """Retries promise the event's bytes, so a data plane that tests them must not be lenient."""
    caller = call(plane)
    first = event("a")
    caller.post(first)
    caller.post(dict(reversed(first.items())))

    assert plane.stats().changed == 1


def test_requests_are_recorded_without_the_write_key(plane, call, event):
    caller = call(plane)
    caller.post(event(), event())
    caller.post(event(), write_key="wrong-secret")

    first, second = plane.requests
    assert (first.status, first.events, first.recorded, first.connection) == (200, 2, 2, 1)
    assert first.sent_at == "2026-01-01T00:00:01.000Z"
    assert first.headers["content-encoding"] == "gzip"
    assert (second.status, second.events, second.recorded) == (401, None, 0)
    assert "secret" not in repr(plane.requests)
    assert "authorization" not in first.headers


def test_a_batch_without_sent_at_is_counted(plane, call, event, batch_of, headers):
    caller = call(plane)
    caller.send(gzip.compress(batch_of([event()], sentAt=None)), headers())
    caller.post(event())

    assert plane.stats().without_sent_at == 1


def test_bytes_are_counted_as_sent_and_inflated(plane, call, event, batch_of, headers):
    body = batch_of([event(properties={"x": "y" * 5000})])
    packed = gzip.compress(body)
    call(plane).send(packed, headers())

    assert (plane.stats().body_bytes, plane.stats().inflated_bytes) == (len(packed), len(body))


def test_only_the_last_events_and_requests_are_kept_but_every_id(start_plane, call, event):
    plane = start_plane(keep_events=2, keep_requests=1)
    caller = call(plane)
    for name in "abcd":
        caller.post(event(name))

    assert [each["messageId"] for each in plane.events] == ["c", "d"]
    assert len(plane.requests) == 1
    assert plane.unique_ids() == ["a", "b", "c", "d"]


def test_reset_forgets_what_arrived(plane, call, event):
    call(plane).post(event("a"))
    plane.reset()

    assert plane.stats().as_dict() | {"uptime": 0} == DataPlane().stats().as_dict() | {"uptime": 0}
    assert (plane.unique_ids(), plane.events, plane.requests) == ([], [], [])


def test_wait_for_a_count_returns_when_it_is_reached(plane, call, event):
    caller = call(plane)
    threading.Timer(0.05, lambda: caller.post(event(), event())).start()

    assert plane.wait_for(2, timeout=10)
    assert not plane.wait_for(3, timeout=0.01)


def test_wait_for_a_predicate_sees_the_statistics(plane, call, event):
    caller = call(plane)
    threading.Timer(0.05, lambda: caller.post(event(), write_key="wrong")).start()

    assert plane.wait_for(lambda stats: stats.statuses.get("401") == 1, timeout=10)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/v1/other", 404), ("GET", "/v1/batch", 405), ("PUT", "/v1/batch", 405)],
)
def test_other_paths_and_methods_are_turned_away(plane, call, method, path, status):
    assert call(plane).send(None, {}, path, method)[0] == status
    assert plane.stats().requests == 0


def test_the_path_can_be_another(start_plane, call, event, batch_of, headers):
    plane = start_plane(path="/v2/import")
    body = gzip.compress(batch_of([event()]))

    assert call(plane).send(body, headers(), "/v2/import?x=1")[0] == 200
    assert call(plane).send(body, headers(), "/v1/batch")[0] == 404


def test_a_large_body_is_refused_before_it_is_sent(start_plane, dial, headers, read_all):
    plane = start_plane(max_body_bytes=1000)
    sock = dial(plane)
    sock.sendall(post_bytes(b"", headers(), "Content-Length: 1001", "Expect: 100-continue"))

    assert read_all(sock).startswith(b"HTTP/1.1 413 ")


def test_the_answer_to_a_large_body_survives_the_body(start_plane, dial, headers, read_all):
    """A server that closes on unread input resets the connection, and the client never sees why."""
    plane = start_plane(max_body_bytes=1000)
    sock = dial(plane)
    sock.sendall(post_bytes(bytes(200_000), headers(), "Content-Length: 200000"))

    assert read_all(sock).startswith(b"HTTP/1.1 413 ")
    assert plane.stats().statuses == {"413": 1}


def test_a_chunked_body_is_read_with_the_same_limit(start_plane, dial, headers, read_all, event, batch_of):
    plane = start_plane(max_body_bytes=1000)
    body = gzip.compress(batch_of([event("a")]))
    chunks = (
        b"5;x=y\r\n" + body[:5] + b"\r\n%x\r\n" % (len(body) - 5) + body[5:] + b"\r\n0\r\nTrailer: 1\r\n\r\n"
    )
    sock = dial(plane)
    sock.sendall(post_bytes(chunks, headers(), "Transfer-Encoding: chunked", "Connection: close"))
    assert read_all(sock).startswith(b"HTTP/1.1 200 ")
    assert plane.unique_ids() == ["a"]

    sock = dial(plane)
    sock.sendall(post_bytes(b"3e9\r\n" + bytes(1001), headers(), "Transfer-Encoding: chunked"))
    assert read_all(sock).startswith(b"HTTP/1.1 413 ")


def test_a_bomb_is_refused_within_bounded_memory(plane, dial, headers, read_all):
    """130 KB that inflate to 128 MiB, over the wire."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(MIB)) for _ in range(128)) + packer.flush()
    request = post_bytes(bomb, headers(), f"Content-Length: {len(bomb)}", "Connection: close")
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


def test_a_client_that_leaves_in_the_middle_harms_nobody(plane, dial, call, headers, event):
    for part in (b"", b"POST /v1", post_bytes(b"half", headers(), "Content-Length: 100")):
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
        assert time.monotonic() - started < 5
        try:
            answer = sock.recv(65536)
        except TimeoutError:
            sock.sendall(drip)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < 2


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


def test_http_1_0_and_connection_close_are_honoured(plane, dial, headers, read_all, event, batch_of):
    body = gzip.compress(batch_of([event()]))
    request = post_bytes(body, headers(), f"Content-Length: {len(body)}")
    for each in (
        request.replace(b"HTTP/1.1", b"HTTP/1.0"),
        post_bytes(body, headers(), f"Content-Length: {len(body)}", "Connection: close"),
    ):
        sock = dial(plane)
        sock.sendall(each)
        assert read_all(sock).startswith(b"HTTP/1.1 200 ")


def test_requests_sent_ahead_are_answered_in_order(plane, dial, headers, event, batch_of, read_all):
    bodies = [gzip.compress(batch_of([event(name)])) for name in "abc"]
    requests = [post_bytes(body, headers(), f"Content-Length: {len(body)}") for body in bodies]
    sock = dial(plane)
    sock.sendall(b"\r\n".join(requests))
    sock.shutdown(socket.SHUT_WR)

    assert read_all(sock).count(b"HTTP/1.1 200 ") == 3
    assert plane.unique_ids() == ["a", "b", "c"]


def test_eight_threads_lose_and_confuse_nothing(plane, call, event):
    callers = [call(plane) for _ in range(8)]
    failures = []

    def work(number):
        try:
            for turn in range(25):
                batch = [event(f"{number}-{turn}-{i}") for i in range(4)] + [event("shared")]
                assert callers[number].post(*batch)[0] == 200
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    stats = plane.stats()
    assert (stats.requests, stats.events, stats.unique) == (200, 1000, 801)
    assert (stats.duplicates, stats.changed, plane.received("shared")) == (199, 0, 200)
    assert {f"{n}-{t}-{i}" for n in range(8) for t in range(25) for i in range(4)} < set(plane.unique_ids())


def test_a_stopped_data_plane_refuses_and_leaves_no_thread(event, call):
    before = set(threading.enumerate())
    plane = DataPlane().start()
    caller = call(plane)
    caller.post(event("a"))
    plane.stop()
    plane.stop()

    assert set(threading.enumerate()) == before
    with pytest.raises((OSError, http.client.HTTPException)):
        caller.post(event())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((plane.host, plane.port), timeout=5)


def test_a_restarted_data_plane_has_the_same_address_and_memory(event, call):
    with DataPlane() as plane:
        address = plane.url
        call(plane).post(event("a"))
    with plane:
        assert plane.url == address
        assert call(plane).post(event("b"))[0] == 200
        assert plane.unique_ids() == ["a", "b"]


def test_a_port_in_use_is_an_os_error_and_leaks_nothing(plane):
    with pytest.raises(OSError):
        DataPlane(port=plane.port).start()


def test_the_address_is_unknown_before_the_start():
    with pytest.raises(RuntimeError, match="before it is started"):
        _ = DataPlane().url


def test_ipv6_is_served(start_plane, call, event):
    plane = start_plane(host="::1")

    assert plane.url.startswith("http://[::1]:")
    assert call(plane).post(event())[0] == 200
    assert call(plane).get("/__stats", Host="[::1]")[0] == 200


def test_serve_forever_ends_when_it_is_stopped(call, event):
    plane = DataPlane()
    thread = threading.Thread(target=plane.serve_forever)
    plane.start()
    thread.start()
    assert call(plane).post(event())[0] == 200
    plane.stop()
    thread.join(5)

    assert not thread.is_alive()
