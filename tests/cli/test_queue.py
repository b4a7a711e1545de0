"""``eventspool queue``: what operators see and do, on both kinds of queue."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import tempfile
import time

import pytest

from eventspool import Queue, QueueOpts
from eventspool._backends import create_backend
from eventspool._claim import ClaimTerms
from eventspool._envelope import seal
from eventspool._job import Failure, NewJob, Settlement, SettlementKind, new_job_id

KEY = "canary-write-key"


def ids(run, queue, state="failed"):
    return [job["id"] for job in run("queue", "list", "--state", state, "--json", **queue).json]


def test_status_counts_by_state(run, failed, enqueue):
    enqueue("good")
    done = run("queue", "status", "--json", **failed)

    assert done.status == 0
    assert (done.json["failed"]["jobs"], done.json["failed"]["events"]) == (2, 2)
    assert (done.json["waiting"]["jobs"], done.json["leased"]["jobs"]) == (1, 0)
    assert done.json["oldest_age"] > 0
    assert [row.split()[:2] for row in run("queue", "status", **failed).out.splitlines()[2:6]] == [
        ["waiting", "1"],
        ["delayed", "0"],
        ["leased", "0"],
        ["failed", "2"],
    ]


def test_list_shows_jobs_page_by_page(run, failed):
    first, second = run("queue", "list", "--json", **failed).json
    page = run("queue", "list", "--limit", "1", "--after", first["id"], "--json", **failed).json

    assert [job["id"] for job in page] == [second["id"]]
    assert (first["state"], first["reason"], first["events"]) == ("failed", "rejected", 1)
    done = run("queue", "list", "--limit", "1", **failed)
    assert first["id"] in done.out
    assert "404" in done.out
    assert f"--after {first['id']}" in done.err


def test_list_says_when_there_is_nothing(run, failed):
    done = run("queue", "list", "--state", "delayed", **failed)

    assert (done.status, done.out) == (0, "")
    assert "No delayed jobs" in done.err
    assert run("queue", "list", "--state", "delayed", "--json", **failed).json == []


def test_show_shows_a_job_and_its_events(run, failed):
    [job, _] = ids(run, failed)
    shown = run("queue", "show", job, "--json", **failed).json

    assert (shown["id"], shown["reason"]) == (job, "rejected")
    assert [event["event"] for event in shown["payload"]] == ["bad-0"]
    assert "bad-0" in run("queue", "show", job, **failed).out


def test_a_job_that_is_not_there_is_an_error(run, failed):
    for command in ("show", "retry", "purge"):
        option = [] if command == "show" else ["--id"]
        done = run("queue", command, *option, "nope", *(["--yes"] if command == "purge" else []), **failed)
        assert done.status == 1
        assert "there" in done.err


def test_retry_takes_ids_a_reason_or_all(run, failed):
    [job, _] = ids(run, failed)

    assert run("queue", "retry", "--reason", "other", "--json", **failed).json == {"retried": 0}
    assert run("queue", "retry", "--id", job, "--json", **failed).json == {"retried": 1}
    assert ids(run, failed, "waiting") == [job]
    assert run("queue", "retry", "--all", "--json", **failed).json == {"retried": 1}
    assert ids(run, failed) == []


def test_what_was_retried_is_delivered(run, failed, target, plane):
    run("queue", "retry", "--all", **failed)

    assert run("worker", "--once", **target, **failed).status == 0
    assert set(plane.unique_ids()) == {"id-bad-0", "id-bad-1"}


def test_purge_refuses_where_nobody_can_confirm(run, failed):
    done = run("queue", "purge", **failed)

    assert done.status == 2
    assert "--yes" in done.err
    assert len(ids(run, failed)) == 2


def test_purge_deletes_what_was_chosen(run, failed, enqueue):
    enqueue("good")
    [job, _] = ids(run, failed)

    assert run("queue", "purge", "--yes", "--id", job, "--json", **failed).json == {"purged": 1}
    assert run("queue", "purge", "--yes", "--reason", "rejected", "--json", **failed).json == {"purged": 1}
    assert run("queue", "purge", "--yes", "--state", "waiting", "--json", **failed).json == {"purged": 1}
    assert run("queue", "purge", "--yes", "--state", "leased", **failed).status == 2
    assert run("queue", "status", "--json", **failed).json["purged_events"] == 3
    assert "3 purged" in run("queue", "status", **failed).out


@pytest.mark.parametrize(("answer", "status", "left"), [("y\n", 0, 0), ("n\n", 1, 2), ("\x03", 130, 2)])
def test_purge_asks_on_a_terminal(run, failed, answer, status, left):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "eventspool", "queue", "purge"],
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **failed},
        start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(theirs, __import__("termios").TIOCSCTTY, 0),
    )
    os.close(theirs)
    asked = b""
    while b"[y/N]" not in asked:
        asked += os.read(ours, 1024)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        os.write(
            ours, answer.encode()
        )  # a Ctrl-C between the question and the read is only seen with the next key
        # Long: another Ctrl-C, while the interpreter goes down already, would end the process in the middle of that.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5.0)

    assert process.poll() == status
    os.close(ours)
    assert b"all 2 failed jobs (2 events)" in asked
    assert len(ids(run, failed)) == left


def test_export_writes_lines_and_leaves_the_queue_alone(run, failed, tmp_path):
    assert run("queue", "export", "out.jsonl", "--json", **failed).json == {
        "exported": 2,
        "file": "out.jsonl",
    }
    written = (tmp_path / "out.jsonl").read_text()

    assert [json.loads(line)["messageId"] for line in written.splitlines()] == ["id-bad-0", "id-bad-1"]
    assert run("queue", "export", "-", **failed).out == written
    assert len(ids(run, failed)) == 2


@pytest.fixture
def bury(queue):
    """Let a new job of one event fail, past the command that is under way."""

    def bury(name):
        opts = QueueOpts(url=queue["EVENTSPOOL_QUEUE"], queue_name=queue["EVENTSPOOL_QUEUE_NAME"])
        with contextlib.closing(create_backend(opts)) as backend:
            backend.open()
            backend.commit([NewJob(new_job_id(), seal([json.dumps({"messageId": name}).encode()]), 1)])
            [job] = backend.claim("t", ClaimTerms(limit=1, visibility_timeout=60)).jobs
            backend.settle("t", [Settlement(job.id, SettlementKind.FAIL, failure=Failure("late", "", 1))])
            backend.leave("t")
            return job.id

    return bury


def test_an_export_purges_what_it_wrote_and_nothing_that_failed_meanwhile(
    run, failed, bury, tmp_path, monkeypatch
):
    write, late = Queue.write_events, []

    def write_while_another_fails(*arguments, **options):
        written = write(*arguments, **options)
        late.append(bury("late"))
        return written

    monkeypatch.setattr(Queue, "write_events", write_while_another_fails)
    done = run("queue", "export", "out.jsonl", "--purge", "--yes", "--json", **failed)

    assert (done.status, done.json) == (0, {"exported": 2, "file": "out.jsonl", "purged": 2})
    assert ids(run, failed) == late
    assert (tmp_path / "out.jsonl").read_text().count("\n") == 2


def test_a_job_that_fails_while_an_export_lists_is_written_once(
    run, queue, enqueue, bury, tmp_path, monkeypatch
):
    enqueue("first")
    write = Queue.write_events

    def write_and_bury(*arguments, **options):
        written = write(*arguments, **options)
        bury("late")  # the first one, as it is the next that is due
        return written

    monkeypatch.setattr(Queue, "write_events", write_and_bury)
    done = run("queue", "export", "out.jsonl", "--state", "all", "--json", **queue)

    assert done.status == 0
    assert (tmp_path / "out.jsonl").read_text().count("id-first") == 1
    assert "id-first" in run("queue", "export", "-", "--state", "failed", **queue).out


def test_what_is_purged_is_on_the_disk_before(run, failed, tmp_path, monkeypatch):
    """The file and its name: synced, both, when the first job is deleted."""
    purge, sync, done = Queue.purge, os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda number: done.append("sync") or sync(number))
    monkeypatch.setattr(Queue, "purge", lambda *a, **o: done.append("purge") or purge(*a, **o))
    run("queue", "export", "out.jsonl", "--purge", "--yes", **failed)

    assert done[:3] == ["sync", "sync", "purge"]
    assert ids(run, failed) == []


def test_an_export_that_cannot_be_written_purges_nothing(run, failed, tmp_path, monkeypatch):
    def fail(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    assert run("queue", "export", "out.jsonl", "--purge", "--yes", **failed).status == 1
    assert len(ids(run, failed)) == 2
    assert [
        path.name for path in tmp_path.iterdir() if "jsonl" in path.name or ".eventspool" in path.name
    ] == []


def test_an_export_that_purges_asks_first(run, failed, tmp_path):
    for arguments in (
        ["out.jsonl"],
        ["-", "--yes"],
        ["out.jsonl", "--yes", "--state", "leased"],
        ["out.jsonl", "--yes", "--user-id", "u1"],
    ):
        assert run("queue", "export", "--purge", *arguments, **failed).status == 2, arguments
    assert len(ids(run, failed)) == 2
    assert not (tmp_path / "out.jsonl").exists()


def test_an_export_never_replaces_a_file_unless_forced(run, failed, tmp_path, monkeypatch):
    """A second run would destroy the only copy of what the first one purged."""
    path = tmp_path / "out.jsonl"
    path.write_text("precious\n")
    done = run("queue", "export", "out.jsonl", "--purge", "--yes", **failed)
    assert (done.status, "--force" in done.err, path.read_text()) == (1, True, "precious\n")

    path.unlink()
    write = Queue.write_events
    with monkeypatch.context() as patch:  # another export, at the same time
        patch.setattr(Queue, "write_events", lambda *a, **o: path.write_text("theirs\n") and write(*a, **o))
        assert run("queue", "export", "out.jsonl", "--purge", "--yes", **failed).status == 1
    assert (path.read_text(), len(ids(run, failed))) == ("theirs\n", 2)

    assert run("queue", "export", "out.jsonl", "--force", **failed).status == 0
    assert "bad-0" in path.read_text()


def test_an_export_of_a_job_that_is_not_there_leaves_no_file(run, failed, tmp_path):
    done = run("queue", "export", "out.jsonl", "--id", "nope", "--id", ids(run, failed)[0], **failed)

    assert (done.status, "1 job of those named" in done.err) == (1, True)
    assert not (tmp_path / "out.jsonl").exists()


def test_counting_leaves_no_copy_of_an_event(run, failed, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "mkstemp", None)
    monkeypatch.setattr(tempfile, "mkdtemp", None)
    for arguments in (["x.jsonl"], ["-"], ["x.jsonl", "--purge"]):
        done = run("queue", "export", *arguments, "--dry-run", "--json", **failed)
        assert (done.status, done.json["exported"]) == (0, 2), done
    assert len(ids(run, failed)) == 2


def test_export_into_a_missing_folder_says_so(run, failed):
    done = run("queue", "export", "missing/out.jsonl", **failed)

    assert done.status == 2
    assert "missing" in done.err


def test_no_command_ever_shows_the_write_key(run, failed):
    [job, _] = ids(run, failed)
    for arguments in (
        ["status"],
        ["list"],
        ["show", job],
        ["export", "-"],
        ["list", "--json"],
        ["show", job, "--json"],
    ):
        done = run("queue", *arguments, EVENTSPOOL_WRITE_KEY=KEY, **failed)
        assert done.status == 0
        assert KEY not in done.out + done.err


def test_tables_are_plain_where_nobody_watches(run, failed):
    assert "\x1b" not in run("queue", "status", **failed).out + run("queue", "list", **failed).out
