"""``eventspool send``: files go in whole, may go in twice, and nothing is dropped on the way."""

from __future__ import annotations

import gzip
import json
import signal

import pytest

from eventspool import Client, open_queue


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


ROWS = (
    b'userId,event,properties.price,properties.zip,context.ip\nu0,A,9.90,"""01234""",::1\nu1,B,,true story,\n'
)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_csv_file_is_sent(run, plane, target, tmp_path, compressed):
    name = "events.csv.gz" if compressed else "events.csv"
    (tmp_path / name).write_bytes(gzip.compress(ROWS) if compressed else ROWS)
    done = run("send", name, "--json", **target)

    assert (done.status, done.json["delivered"]) == (0, 2), done
    first, second = sorted(plane.events, key=lambda event: event["userId"])
    assert first["properties"] == {"price": 9.9, "zip": "01234"}
    assert first["context"]["ip"] == "::1"
    assert (second["type"], second["event"], second["properties"]) == ("track", "B", {"zip": "true story"})


def test_a_column_that_no_event_has_is_told(run, target, tmp_path):
    (tmp_path / "events.csv").write_bytes(b"userid,event\nu,A\n")
    done = run("send", "events.csv", **target)
    assert (done.status, "did you mean 'userId'?" in done.err) == (1, True), done


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_sent_with_an_event_larger_than_a_chunk(run, plane, target, indent):
    events = [
        json.loads(line)
        for line in lines(300, properties={"text": "ä[{" * 30_000})[:300_000].split(b"\n")[:1]
    ]
    events += [json.loads(line) for line in lines(300).splitlines()]
    data = b"\xef\xbb\xbf \n" + json.dumps(events, indent=indent, ensure_ascii=False).encode()
    done = run("send", "-", "--json", data=data, **target)
    assert (done.status, done.json["delivered"]) == (0, 301), done
    assert len(plane.events) == 301


@pytest.mark.parametrize("data", [b"[{}, ", b"[{} {}]", b'[{"a":}]', b"[\xff]", b"[" * 5000])
def test_a_broken_array_is_told_in_a_sentence(run, target, data):
    done = run("send", "-", "--json", data=data, **target)
    assert done.status == 1
    assert "bug" not in done.err
    assert done.json["command_error"]["code"] == "files"


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        (b"PK\x03\x04", "unzip -p"),
        (b"(\xb5/\xfd", "zstdcat"),
        (b"BZh9", "bzcat"),
        (b"\xff\xfe{\x00", "iconv"),
        (gzip.compress(lines(5000), mtime=0)[:3000], "ends too early"),
        (gzip.compress(b"PK\x03\x04", mtime=0), "unzip -p"),
    ],
)
def test_a_form_that_is_not_taken_says_what_to_do(run, target, data, remedy):
    done = run("send", "-", data=data, **target)
    assert (done.status, remedy in done.err) == (1, True), done


def test_a_dry_run_checks_all_and_sends_nothing(run, plane, target):
    data = lines(5) + b'{"type":"track","userId":"u"}\nrubbish\n'
    done = run("send", "-", "--dry-run", "--json", data=data)
    assert (done.status, done.json["accepted"], done.json["refused"], done.json["dry_run"]) == (1, 5, 2, True)
    sent = run("send", "-", "--json", data=data, **target)
    assert sent.json["errors"] == done.json["errors"]


@pytest.mark.parametrize("name", ["events.jsonl", "events.csv"])
def test_the_refused_lines_can_be_mended_and_sent(run, plane, target, tmp_path, name):
    good, bad = (b"type,userId,event\ntrack,u,A\n", b"nothing,u,B\n")
    if name == "events.jsonl":
        good, bad = lines(2), b'{"type":"nothing","userId":"u","event":"B"}\n'
    (tmp_path / name).write_bytes(good + bad)
    rejects = f"wrong-{name}"
    assert run("send", name, "--rejects", rejects, **target).status == 1
    wrong = (tmp_path / rejects).read_bytes()
    assert wrong.endswith(bad)
    (tmp_path / rejects).write_bytes(wrong.replace(b"nothing", b"track"))
    assert run("send", rejects, "--rejects", rejects, **target).status == 1  # it is there already
    done = run("send", rejects, "--rejects", "no.txt", "--json", **target)
    assert (done.status, done.json["delivered"]) == (0, 1), done
    assert not (tmp_path / "no.txt").exists()


def test_a_run_that_was_interrupted_goes_on_where_it_was(run, plane, target, tmp_path, monkeypatch):
    monkeypatch.setattr("eventspool._cli.pace._NOTE_EVERY", 0.0)
    file = tmp_path / "events.jsonl"
    file.write_bytes(lines(20) + b"[]\n" + lines(20) * 2)
    real = Client.track
    calls = []

    def track(*arguments, **named):
        calls.append(named)
        if len(calls) == 31:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr(Client, "track", track)
    first = run("send", "events.jsonl", "--resume", "--json", **target)
    assert (first.status, first.json["accepted"]) == (130, 30), first

    again = run("send", "events.jsonl", "--resume", "--json", **target)
    assert (again.status, again.json["skipped"], again.json["accepted"]) == (0, 30, 30), again
    assert (plane.stats().unique, plane.stats().duplicates) == (60, 0)
    assert not list(tmp_path.glob("*resume*"))


def test_a_file_that_was_replaced_is_not_resumed(run, target, tmp_path, plane):
    file = tmp_path / "events.jsonl"
    file.write_bytes(lines(2))
    state = tmp_path / "events.jsonl.eventspool-resume"
    state.write_text('{"records": 1, "head_bytes": 9, "head": "other"}')
    done = run("send", "events.jsonl", "--resume", **target)
    assert (done.status, state.name in done.err) == (1, True), done
    assert not plane.events


def test_a_rate_is_kept(run, plane, target):
    done = run("send", "-", "--events-per-second", "40", "--json", data=lines(21), **target)
    assert (done.status, done.json["delivered"]) == (0, 21)
    assert done.json["elapsed"] >= 0.5
