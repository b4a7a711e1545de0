"""Every scripted fault, seen from the other end of a real connection."""

from __future__ import annotations

import email.utils
import gzip
import http.client
import threading
import time

import pytest

from eventspool import ConfigError
from eventspool._dataplane import Rule

GONE = (ConnectionResetError, http.client.RemoteDisconnected, BrokenPipeError)


def test_a_status_is_answered_and_nothing_recorded(plane, call, event):
    plane.script("status=503,next=2")
    caller = call(plane)

    assert [caller.post(event("a"))[0] for _ in range(3)] == [503, 503, 200]
    assert plane.received("a") == 1
    assert plane.requests[0].fault == "status=503,next=2"
    assert (plane.requests[0].events, plane.requests[0].recorded) == (1, 0)
    assert plane.stats().statuses == {"503": 2, "200": 1}
    assert plane.stats().faults == {"status=503,next=2": 2}


def test_an_error_after_the_events_were_stored_is_the_ambiguous_case(plane, call, event):
    plane.script("status=500,record,next=1")
    caller = call(plane)

    assert [caller.post(event("a"))[0] for _ in range(2)] == [500, 200]
    assert plane.received("a") == 2
    assert plane.stats().changed == 0


def test_a_status_brings_retry_after_and_a_body(plane, call, event):
    plane.script({"status": 429, "retry_after": 1.5, "body": "slow down"})
    status, body, headers = call(plane).post(event())

    assert (status, body, headers["Retry-After"]) == (429, b"slow down", "1.5")


def test_a_scripted_body_may_be_json(plane, call, event):
    plane.script({"status": 200, "body": '{"ok":false}', "record": True})

    assert call(plane).post(event("a"))[:2] == (200, {"ok": False})
    assert plane.received("a") == 1


def test_retry_after_is_also_sent_as_an_http_date(plane, call, event):
    plane.script("status=503,retry_after_date=60")
    now = time.time()
    headers = call(plane).post(event())[2]

    assert email.utils.parsedate_to_datetime(headers["Retry-After"]).timestamp() == pytest.approx(
        now + 60, abs=3
    )


def test_retry_after_can_be_nonsense(plane, call, event):
    plane.script({"status": 503, "retry_after": "soon, perhaps"})

    assert call(plane).post(event())[2]["Retry-After"] == "soon, perhaps"


def test_a_status_without_a_body_does_not_confuse_the_next_answer(plane, call, event):
    plane.script("status=204,next=1")
    caller = call(plane)

    assert [caller.post(event())[0] for _ in range(2)] == [204, 200]


def test_latency_delays_the_answer_to_events_that_are_already_received(plane, call, event):
    plane.script("latency=0.3")
    caller = call(plane)
    started = time.monotonic()
    thread = threading.Thread(target=caller.post, args=(event("a"),))
    thread.start()

    assert plane.wait_for(1, timeout=60)
    thread.join()
    assert time.monotonic() - started >= 0.3


def test_stopping_does_not_wait_for_latency(start_plane, call, event):
    plane = start_plane(faults=["latency=60"])
    caller = call(plane)
    outcome = []

    def post():
        try:
            outcome.append(caller.post(event()))
        except GONE:
            outcome.append("gone")

    thread = threading.Thread(target=post)
    thread.start()
    assert plane.wait_for(1, timeout=60)
    started = time.monotonic()
    plane.stop()
    thread.join()

    assert outcome == ["gone"]
    assert time.monotonic() - started < 50


def test_drop_before_reads_nothing(plane, call, event):
    plane.script("drop=before,next=1")
    caller = call(plane)
    with pytest.raises(GONE):
        caller.post(event("a"))

    assert caller.post(event("a"))[0] == 200
    assert plane.received("a") == 1
    assert (plane.requests[0].status, plane.requests[0].body_bytes) == (None, 0)
    assert plane.stats().statuses == {"none": 1, "200": 1}


@pytest.mark.parametrize(("rule", "arrivals"), [("drop=after", 1), ("drop=after,record", 2)])
def test_drop_after_reads_everything_and_answers_nothing(plane, call, event, rule, arrivals):
    plane.script(f"{rule},next=1")
    caller = call(plane)
    with pytest.raises(GONE):
        caller.post(event("a"))

    assert caller.post(event("a"))[0] == 200
    assert plane.received("a") == arrivals
    assert plane.requests[0].status is None
    assert plane.requests[0].body_bytes > 0


def test_drop_half_sends_half_an_answer(plane, dial, read_all, headers, event, batch_of):
    plane.script("drop=half,record")
    body = gzip.compress(batch_of([event("a")]))
    head = "\r\n".join(f"{k}: {v}" for k, v in headers(**{"Content-Length": len(body)}).items())
    sock = dial(plane)
    sock.sendall(f"POST /v1/batch HTTP/1.1\r\n{head}\r\n\r\n".encode() + body)
    answer = read_all(sock)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\n\r\n" not in answer
    assert plane.received("a") == 1


def test_hang_answers_nothing_until_the_client_gives_up(plane, call, event):
    plane.script("hang=60,next=1")
    caller = call(plane, timeout=1.0)
    with pytest.raises(TimeoutError):
        caller.post(event("a"))
    caller.close()

    assert call(plane).post(event("a"))[0] == 200
    assert plane.received("a") == 1


def test_hang_is_bounded(plane, call, event):
    plane.script("hang=0.1")

    with pytest.raises(GONE):
        call(plane).post(event())


def test_drip_sends_the_answer_byte_by_byte(plane, dial, headers, event, batch_of):
    plane.script("drip=0.002")
    body = batch_of([event("a")])
    wanted = headers(**{"Content-Length": len(body), "Connection": "close"})
    del wanted["Content-Encoding"]
    sock = dial(plane)
    head = "\r\n".join(f"{k}: {v}" for k, v in wanted.items())
    sock.sendall(f"POST /v1/batch HTTP/1.1\r\n{head}\r\n\r\n".encode() + body)
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)

    assert b"".join(pieces).startswith(b"HTTP/1.1 200 ")
    assert b"".join(pieces).endswith(b'{"ok":true}')
    assert len(pieces) > 20
    assert plane.received("a") == 1


def test_a_redirect_points_elsewhere_and_records_nothing(plane, call, event):
    plane.script({"redirect": "http://127.0.0.1:1/elsewhere"})
    status, _, headers = call(plane).post(event())

    assert (status, headers["Location"]) == (302, "http://127.0.0.1:1/elsewhere")
    assert plane.stats().events == 0


def test_poison_refuses_the_whole_batch_and_is_named(plane, call, event):
    plane.script("reject,event=Poison")
    caller = call(plane)

    status, body, _ = caller.post(event("a"), event("b", event="Poison"))
    assert (status, body["index"]) == (400, 1)
    assert plane.stats().events == 0
    assert caller.post(event("a"))[0] == 200


def test_poison_is_named_beside_the_events_that_were_taken(plane, call, event):
    plane.script("reject=events,event=Poison")

    status, body, _ = call(plane).post(event("a"), event("b", event="Poison"), event("c"))

    assert (status, body["ok"], [each["index"] for each in body["errors"]]) == (200, False, [1])
    assert plane.unique_ids() == ["a", "c"]


def test_a_predicate_chooses_the_poison(plane, call, event):
    plane.script(Rule(reject="batch", predicate=lambda each: each["userId"] == "u2"))
    caller = call(plane)

    assert caller.post(event(), event(userId="u2"))[0] == 400
    assert caller.post(event())[0] == 200


def test_a_predicate_with_a_bug_is_answered_with_500_and_no_content(plane, call, event):
    plane.script(Rule(status=503, predicate=lambda each: each["no such field"]))
    status, body, _ = call(plane).post(event())

    assert (status, body["message"]) == (500, "KeyError in the data plane")


def test_limits_are_answered_with_413(plane, call, event):
    plane.script("max_events=2", "max_bytes=400")
    caller = call(plane)

    assert caller.post(event(), event())[0] == 200
    assert caller.post(event(), event(), event())[0] == 413
    assert caller.post(event(properties={str(i): i * 7919 for i in range(200)}))[0] == 413
    assert plane.stats().events == 2


def test_faults_do_not_record_what_a_wrong_write_key_brings(plane, call, event):
    plane.script("status=500,record")

    assert call(plane).post(event(), write_key="wrong")[0] == 500
    assert plane.stats().events == 0


def test_an_outage_refuses_connections_breaks_old_ones_and_ends(plane, call, event):
    old = call(plane)
    assert old.post(event("a"))[0] == 200
    plane.script("outage")
    with pytest.raises((*GONE, ConnectionRefusedError)):
        old.post(event("b"))
    with pytest.raises(ConnectionRefusedError):
        call(plane).post(event("b"))
    plane.script()

    assert call(plane).post(event("c"))[0] == 200
    assert plane.unique_ids() == ["a", "c"]


def test_an_outage_begins_and_ends_by_itself(plane, call, event):
    begun = time.monotonic()
    plane.script("outage,from=0.2,to=2")
    refused = []
    while time.monotonic() - begun < 60:
        time.sleep(0.01)  # flat out, so many connections are open at once that the data plane refuses some
        try:
            call(plane).post(event())
        except OSError:
            refused.append(time.monotonic() - begun)
        else:
            if refused:
                break

    assert refused
    assert min(refused) >= 0.2
    assert time.monotonic() - begun >= 2
    assert plane.stats().faults == {"outage,from=0.2,to=2": 1}


def test_a_data_plane_can_be_started_in_an_outage(start_plane, call, event):
    plane = start_plane(faults="outage,to=0.3")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            assert call(plane).post(event("a"))[0] == 200
            break
        except OSError:
            continue

    assert plane.unique_ids() == ["a"]


def test_a_wrong_rule_leaves_the_script_as_it_was(plane, call, event):
    plane.script("status=503")
    with pytest.raises(ConfigError):
        plane.script("status=500", "stutas=1")

    assert call(plane).post(event())[0] == 503


def test_the_same_seed_fails_the_same_requests(start_plane, call, event):
    def statuses(seed):
        caller = call(start_plane(faults=["status=503,p=0.5"], seed=seed))
        return [caller.post(event())[0] for _ in range(30)]

    assert statuses(1) == statuses(1) != statuses(2)
