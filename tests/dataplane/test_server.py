"""The data plane as a server: what it counts, whom it lets in, and what it survives."""

from __future__ import annotations

import gzip
import socket
import threading

import pytest

from eventspool._dataplane import DataPlane

MIB = 1 << 20


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

    for value in ("Bearer local-write-key", "Basic", "Basic ", "Basic bG9jYWwtd3JpdGUta2V5"):
        assert caller.send(body, headers(Authorization=value))[0] == 401
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
    later = threading.Timer(0.05, lambda: caller.post(event(), event()))
    later.start()

    assert plane.wait_for(2, timeout=60)
    later.join()
    assert not plane.wait_for(3, timeout=0.01)


def test_wait_for_a_predicate_sees_the_statistics(plane, call, event):
    caller = call(plane)
    later = threading.Timer(0.05, lambda: caller.post(event(), write_key="wrong"))
    later.start()

    assert plane.wait_for(lambda stats: stats.statuses.get("401") == 1, timeout=60)
    later.join()


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


def test_http_1_0_and_connection_close_are_honoured(
    plane, dial, headers, read_all, event, batch_of, raw_post
):
    body = gzip.compress(batch_of([event()]))
    request = raw_post(body, headers(), f"Content-Length: {len(body)}")
    for each in (
        request.replace(b"HTTP/1.1", b"HTTP/1.0"),
        raw_post(body, headers(), f"Content-Length: {len(body)}", "Connection: close"),
    ):
        sock = dial(plane)
        sock.sendall(each)
        assert read_all(sock).startswith(b"HTTP/1.1 200 ")


def test_requests_sent_ahead_are_answered_in_order(plane, dial, headers, event, batch_of, read_all, raw_post):
    bodies = [gzip.compress(batch_of([event(name)])) for name in "abc"]
    requests = [raw_post(body, headers(), f"Content-Length: {len(body)}") for body in bodies]
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
