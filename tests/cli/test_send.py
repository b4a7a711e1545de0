"""``eventspool send``: files go in whole, may go in twice, and nothing is dropped on the way."""

from __future__ import annotations

import json
import signal

import pytest

from eventspool import open_queue


def lines(count: int, **extra) -> bytes:
    made = (
        {"type": "track", "userId": f"u{i}", "event": "A", "properties": {"i": i}, **extra}
        for i in range(count)
    )
    return b"".join(json.dumps(event).encode() + b"\n" for event in made)


def test_a_file_is_delivered(run, plane, target, tmp_path):
    (tmp_path / "events.jsonl").write_bytes(lines(50))
    done = run("send", "events.jsonl", "--json", **target)

    assert done.status == 0, done
    assert (done.json["accepted"], done.json["delivered"], done.json["refused"]) == (50, 50, 0)
    assert {event["userId"] for event in plane.events} == {f"u{i}" for i in range(50)}


def test_sending_twice_brings_no_new_ids_and_no_other_bytes(run, plane, target):
    data = lines(30, timestamp="1997-01-01T00:00:00Z") * 2
    for _ in range(2):
        assert run("send", "-", data=data, **target).status == 0

    stats = plane.stats()
    assert (stats.unique, stats.duplicates, stats.changed) == (60, 60, 0)


def test_all_six_types_arrive_as_they_were(run, plane, target):
    events = [
        {
            "type": "track",
            "userId": "u",
            "event": "E",
            "properties": {"price": 9.90},
            "context": {"ip": "::1"},
        },
        {"type": "identify", "userId": "u", "traits": {"plan": "pro"}},
        {"type": "page", "anonymousId": "a", "category": "c", "name": "n", "properties": {}},
        {"type": "screen", "userId": "u", "name": "n", "integrations": {"All": True}},
        {"type": "group", "userId": "u", "groupId": "g", "traits": {"size": 3}},
        {"type": "alias", "previousId": "p", "userId": "u"},
    ]
    events = [{**event, "messageId": f"m{i}"} for i, event in enumerate(events)]
    done = run("send", "-", data="\n".join(map(json.dumps, events)).encode(), **target)

    assert done.status == 0, done
    for sent, got in zip(events, plane.events, strict=True):
        got["context"].pop("library")
        got["context"].pop("traits", None)
        assert all(got[name] == value for name, value in sent.items())


def test_wrong_lines_are_reported_with_their_number_and_the_others_go_on(run, plane, target):
    data = (
        b'\xef\xbb\xbf{"type":"track","userId":"u","event":"A"}\r\n'
        b"secret\n\n" + lines(1) + b'{"type":"track"}'
    )
    done = run("send", "-", "--json", data=data, **target)

    assert done.status == 1
    assert [error["line"] for error in done.json["errors"]] == [2, 5]
    assert "line 2: not JSON" in done.err
    assert "secret" not in done.err + done.out
    assert plane.stats().unique == 2


def test_a_thousand_wrong_lines_do_not_flood_the_terminal(run, target):
    done = run("send", "-", "--json", data=b"x\n" * 1500, **target)

    assert done.json["refused"] == 1500
    assert len(done.json["errors"]) == 1000
    assert done.err.count("\n") < 30


def test_an_empty_file_is_fine(run, target):
    done = run("send", "-", "--json", **target)

    assert done.status == 0
    assert done.json["lines"] == 0


def test_more_events_than_the_buffer_holds_are_not_dropped(run, plane, target):
    plane.script("latency=0.3,next=3")
    done = run("send", "-", "--json", data=lines(45_000), **target)

    assert done.status == 0, done.err
    assert plane.stats().unique == 45_000


def test_enqueue_only_needs_no_key_and_a_worker_delivers(run, plane, target, queue):
    done = run("send", "-", "--enqueue-only", "--json", data=lines(10), **queue)
    assert (done.status, done.json["stored"]) == (0, 10), done
    assert plane.stats().requests == 0

    assert run("worker", "--once", **target, **queue).status == 0
    assert plane.stats().unique == 10


def test_what_a_dead_data_plane_does_not_take_stays_in_the_queue(run, target, queue):
    dead = {**target, "EVENTSPOOL_DATA_PLANE_URL": "http://127.0.0.1:9"}
    done = run("send", "-", "--timeout", "0.5", "--json", data=lines(10), **dead, **queue)

    assert (done.status, done.json["pending"], done.json["stored"]) == (1, 10, 10)
    assert "eventspool worker" not in done.out
    with open_queue(queue["EVENTSPOOL_QUEUE"], queue["EVENTSPOOL_QUEUE_NAME"]) as opened:
        stats = opened.stats()
        assert stats.waiting.events + stats.delayed.events == 10


def test_what_a_dead_data_plane_does_not_take_is_not_claimed_to_be_sent(run, target):
    dead = {**target, "EVENTSPOOL_DATA_PLANE_URL": "http://127.0.0.1:9"}
    done = run("send", "-", "--timeout", "0.5", data=lines(10), **dead)

    assert done.status == 1
    assert "send the file again" in done.err


def test_events_that_the_data_plane_refuses_are_counted_as_failed(run, plane, target):
    plane.script("reject=events,event=A")
    done = run("send", "-", "--json", data=lines(3), **target)

    assert (done.status, done.json["failed"], done.json["delivered"]) == (1, 3, 0)


def test_an_export_goes_in_again_byte_by_byte(run, plane, target, failed, tmp_path):
    assert run("queue", "export", "failed.jsonl", **failed).status == 0
    for _ in range(2):
        assert run("send", "failed.jsonl", **target).status == 0

    assert set(plane.unique_ids()) == {"id-bad-0", "id-bad-1"}
    assert plane.stats().changed == 0


def test_ctrl_c_ends_with_130_and_a_report(start, plane, target):
    plane.script("latency=0.2")
    process = start("send", "-", "--json", env=target, stdin=-1)
    process.stdin.write(lines(100).decode())
    process.stdin.flush()
    assert plane.wait_for(1, timeout=60)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert json.loads(out)["interrupted"] is True
    assert "Traceback" not in err


@pytest.mark.parametrize("binary", [b"\x00\xff" * 100, b"\xff\xfe{\x00}\x00"])
def test_binary_rubbish_is_refused(run, target, binary):
    assert run("send", "-", data=binary, **target).status == 1
