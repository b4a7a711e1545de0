"""The parts of ``eventspool queue`` that go on until they are told to stop, and what else operators steer with."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from eventspool import Job, QueueOpts, QueueStats
from eventspool._backends import create_backend
from eventspool._claim import ClaimTerms
from eventspool._cli.commands.queue.status import Rates, sparkline
from eventspool._cli.commands.queue.tail import _Follower
from eventspool._job import JobState, NewJob, new_job_id
from eventspool._operate.selection import PAGE

pytestmark = pytest.mark.rotating("watching", turns=3)

OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"


def ids(run, queue, state="failed"):
    return [job["id"] for job in run("queue", "list", "--state", state, "--json", **queue).json]


def test_watching_as_json_is_a_line_each_time(start, run, failed, enqueue):
    process = start("queue", "status", "--watch", "--interval", "0.1", "--json", env=failed)
    first = json.loads(process.stdout.readline())
    enqueue("good")
    while json.loads(process.stdout.readline())["waiting"]["jobs"] == 0:
        pass
    process.send_signal(signal.SIGINT)

    assert process.wait(60) == 0
    assert (first["failed"]["jobs"], first["paused"], first["accepted_events"]) == (2, False, 2)


def test_watching_without_a_terminal_is_plain_lines(start, failed):
    process = start("queue", "status", "--watch", "--interval", "0.1", env=failed)
    lines = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 0
    assert all("2 failed" in line and "\x1b" not in line for line in lines), lines


def test_status_says_who_delivers_and_what_is_wrong(run, start, plane, target, queue, enqueue):
    plane.script("status=503")
    enqueue("a", "b")
    start("worker", env={**target, **queue})
    assert plane.wait_for(lambda stats: stats.requests >= 6, timeout=60)
    process = start("queue", "status", "--watch", "--interval", "0.2", "--json", env=queue)
    while not ((look := json.loads(process.stdout.readline()))["workers"] and look["workers"][0]["paused"]):
        pass
    shown = run("queue", "status", **queue).out

    assert look["workers"][0]["statuses"]
    assert "503" in shown
    assert "data plane down" in shown


def test_status_says_that_the_write_key_is_refused(run, start, plane, target, queue, enqueue):
    enqueue("a")
    start("worker", env={**target, **queue, "EVENTSPOOL_WRITE_KEY": "wrong"})
    process = start("queue", "status", "--watch", "--interval", "0.2", env=queue)
    while "probing" not in (line := process.stdout.readline()):
        assert line
    assert "write key refused, probing" in line
    assert "write key refused, probing" in run("queue", "status", **queue).out


def test_rates_come_from_totals_and_survive_an_emptied_queue():
    rates = Rates()
    for at, accepted in ((0.0, 10), (2.0, 30), (2.0, 99), (3.0, 0)):
        rates.add(at, QueueStats(accepted_events=accepted))
    assert list(rates.accepted) == [10.0, 0.0]


@pytest.mark.parametrize(
    ("values", "drawn"), [([], ""), ([0, 0], "▁▁"), ([0, 7, 14], "▁▅█"), ([1e-9], "█"), ([3, 0, 3], "█▁█")]
)
def test_a_sparkline_spans_nothing_to_the_largest(values, drawn):
    assert sparkline(values) == drawn


def test_tail_shows_what_is_there_and_what_comes(start, run, failed, enqueue, plane, target):
    process = start("queue", "tail", "-n", "1", "--interval", "0.1", "--events", "--json", env=failed)
    first = json.loads(process.stdout.readline())
    plane.script("status=404")
    enqueue("bad-2")
    run("worker", "--once", **target, **failed)
    second = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)

    assert process.wait(60) == 0
    assert process.stdout.read() == ""
    assert [job["payload"][0]["event"] for job in (first, second)] == ["bad-1", "bad-2"]
    assert second["reason"] == "rejected"


def test_tail_shows_a_job_again_when_it_fails_again(start, run, failed, plane, target):
    """Each of the two, in turn: also the last one, behind which the list is read on, and what failed before it did."""
    process = start("queue", "tail", "--interval", "0.1", "--json", env=failed)
    first, second = (json.loads(process.stdout.readline()) for _ in range(2))
    plane.script("status=404")
    for again in (first, second, first):
        run("queue", "retry", "--id", again["id"], **failed)
        run("worker", "--once", **target, **failed)
        shown = json.loads(process.stdout.readline())
        assert (shown["id"], shown["failed_at"] > again["failed_at"]) == (again["id"], True)
    process.send_signal(signal.SIGINT)

    assert process.wait(60) == 0
    assert process.stdout.read() == ""


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_tail_ends_when_nobody_reads_on(start, failed, arguments):
    process = start("queue", "tail", "--interval", "0.1", *arguments, env=failed)
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None

    assert process.wait(60) == 141
    assert process.stderr.read() == ""


class _Listed:
    """A queue of which only the list of failed jobs is there: ids and times of failure, in order."""

    def __init__(self):
        self.failed = []
        self.asked = 0

    def jobs(self, state, limit, after=None):
        self.asked += 1
        last = after.id if isinstance(after, Job) else after
        ids = [job.id for job in self.failed]
        return self.failed[ids.index(last) + 1 if last in ids else 0 :][:limit]


def job_that_failed(number, at=0.0):
    return Job(f"{number:028x}", JobState.FAILED, 1, 1, 1, "rejected", "", 1.0, None, at or float(number))


def test_tail_misses_nothing_when_the_last_job_moves_behind_what_is_new():
    queue = _Listed()
    follower = _Follower(queue, "failed")
    a, b, c = map(job_that_failed, (1, 2, 3))
    queue.failed = [a, b]
    assert follower.news() == [a, b]
    queue.failed = [a, c, again := job_that_failed(2, at=4.0)]
    assert follower.news() == [c, again]
    assert follower.news() == []


def test_tail_reads_on_and_forgets_what_has_left():
    queue = _Listed()
    follower = _Follower(queue, "failed")
    for number in range(20 * PAGE):
        queue.failed = [*queue.failed, job_that_failed(number + 1)][-10:]
        assert follower.news() == queue.failed[-1:]
    assert len(follower._seen) < 3 * PAGE
    queue.failed = [job_that_failed(number + 1) for number in range(10 * PAGE)]
    follower.news()
    asked = queue.asked
    assert follower.news() == []
    assert queue.asked == asked + 1, "not the whole list again"


def test_tail_for_people_is_lines(start, failed):
    process = start("queue", "tail", "--events", env=failed)
    lines = [process.stdout.readline() for _ in range(4)]
    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 0
    assert "rejected: " in lines[0]
    assert '"bad-0"' in lines[1]


def test_failed_groups_by_reason_and_says_what_to_do(run, failed):
    [group] = run("queue", "failed", "--json", **failed).json
    shown = run("queue", "failed", **failed)

    assert (group["reason"], group["jobs"], group["events"]) == ("rejected", 2, 2)
    assert "404" in group["error"]
    assert "rejected" in shown.out
    [advice] = [line for line in shown.err.splitlines() if line.startswith("rejected: ")]
    assert advice in OPERATIONS.read_text("utf-8").splitlines(), "the page shows an example"
    run("queue", "retry", **failed)
    assert run("queue", "failed", "--json", **failed).json == []
    assert "Nothing failed" in run("queue", "failed", **failed).err


def test_pause_and_resume_steer_workers_of_other_processes(run, plane, target, queue, enqueue, start):
    enqueue("a")
    assert run("queue", "pause", "--json", **queue).json == {"paused": True, "unfinished_jobs": 1}
    worker = start("worker", "--once", env={**target, **queue})
    while "paused" not in (line := worker.stderr.readline()):
        assert line, "it ended, though the queue is paused"
    assert plane.stats().requests == 0
    assert "paused" in run("queue", "status", **queue).out

    assert "1 job" in run("queue", "resume", **queue).out
    assert worker.wait(60) == 0
    assert plane.unique_ids() == ["id-a"]


def test_delayed_jobs_come_due_at_once_when_asked(run, plane, target, queue, enqueue, start):
    plane.script("status=503,retry_after=600,next=1")
    enqueue("a")
    worker = start("worker", env={**target, **queue}, stderr=subprocess.DEVNULL)
    assert plane.wait_for(lambda stats: stats.requests == 1, timeout=60)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert "next in" in run("queue", "status", **queue).out
    assert run("queue", "retry", "--state", "delayed", "--dry-run", "--json", **queue).json == {
        "retried": 1,
        "dry_run": True,
    }
    assert len(ids(run, queue, "delayed")) == 1
    assert run("queue", "retry", "--state", "delayed", "--json", **queue).json == {"retried": 1}
    assert len(ids(run, queue, "waiting")) == 1
    assert run("queue", "retry", "--state", "delayed", "--reason", "x", **queue).status == 2


def test_a_dry_run_changes_nothing(run, failed, tmp_path):
    assert run("queue", "retry", "--dry-run", "--json", **failed).json == {"retried": 2, "dry_run": True}
    assert run("queue", "purge", "--dry-run", "--json", **failed).json == {"purged": 2, "dry_run": True}
    assert run("queue", "export", "--dry-run", "--json", "x", **failed).json == {
        "exported": 2,
        "file": "x",
        "dry_run": True,
    }
    assert "would have purged 2 jobs" in run("queue", "purge", "--dry-run", **failed).out
    assert len(ids(run, failed)) == 2
    assert not (tmp_path / "x").exists()


def test_age_and_id_narrow_it_down(run, failed, tmp_path):
    [first, second] = ids(run, failed)

    assert run("queue", "purge", "--older-than", "1h", "--yes", "--json", **failed).json == {"purged": 0}
    assert run("queue", "purge", "--older-than", "soon", "--yes", **failed).status == 2
    assert run("queue", "export", "--id", second, "-", **failed).out.count("bad-1") == 2
    done = run("queue", "export", "--id", first, "--id", "nope", "some.jsonl", **failed)
    assert (done.status, "1 job of those named" in done.err) == (1, True)
    assert run("queue", "export", "--reason", "other", "none.jsonl", "--json", **failed).json["exported"] == 0
    assert run("queue", "retry", "--older-than", "0", "--id", first, "--json", **failed).json == {
        "retried": 1
    }


def test_a_users_events_are_found_exported_and_erased(run, target, plane, queue):
    """Out of batches that hold others' events, too, in every state."""
    lines = b"".join(b'{"type":"track","event":"E%d","userId":"u%d"}\n' % (i, i % 3) for i in range(9))
    assert run("send", "-", "--enqueue-only", data=lines, **queue).status == 0
    one = ("--state", "all", "--user-id", "u1")

    plan = run("queue", "purge", *one, "--dry-run", "--json", **queue).json
    assert (plan["erased"], plan["dry_run"]) == (3, True)
    done = run("queue", "export", *one, "-", **queue)
    assert (done.status, done.out.count('"u1"')) == (0, 3)
    done = run("queue", "purge", *one, "--yes", "--json", **queue)
    assert (done.status, {**done.json, "dry_run": True}) == (0, plan)
    assert run("queue", "purge", *one, "--yes", "--json", **queue).json["erased"] == 0
    assert run("worker", "--once", **target, **queue).status == 0
    assert plane.stats().unique == 6


def test_an_erasure_is_not_done_while_a_batch_is_being_sent_or_cannot_be_read(run, queue, enqueue):
    """It says so, names the batch and what to do, and ends with 1; what it could erase is erased."""
    enqueue("a", "b")
    opts = QueueOpts(
        url=queue["EVENTSPOOL_QUEUE"],
        queue_name=queue["EVENTSPOOL_QUEUE_NAME"],
    )
    one = ("--state", "all", "--user-id", "u1", "--yes")
    with contextlib.closing(create_backend(opts)) as backend:
        backend.open()
        backend.commit([NewJob(new_job_id(), b"junk", 1)])
        [held] = backend.claim("t", ClaimTerms(limit=1, visibility_timeout=60)).jobs
        done = run("queue", "purge", *one, "--json", **queue)
        assert (done.status, done.json["erased"]) == (1, 1)
        assert done.json["left"]["leased"] == [held.id]
        assert len(done.json["left"]["unreadable"]) == 1
        said = run("queue", "purge", *one, **queue)
        assert (said.status, held.id in said.err, "ask again" in said.err) == (1, True, True)
        assert "erased 0 events of the user 'u1'" in said.out
        backend.leave("t")
    assert run("queue", "purge", *one, **queue).status == 1
    assert run("queue", "purge", "--state", "waiting", "--yes", **queue).status == 0
    assert run("queue", "purge", *one, **queue).status == 0


def test_counting_a_users_events_leaves_no_copy_of_them(run, failed, monkeypatch):
    for name in ("mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, None)
    done = run("queue", "purge", "--user-id", "u1", "--dry-run", "--json", **failed)
    assert (done.status, done.json["erased"]) == (0, 2)


def test_an_export_is_private(run, failed, tmp_path):
    run("queue", "export", "out.jsonl", **failed)
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".eventspool")] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed_and_complete(run, shell, start):
    script = run("completion", shell)
    assert (script.status, "_EVENTSPOOL_COMPLETE" in script.out) == (0, True)
    assert run("completion", shell, "--json").json["script"] + "\n" == script.out
    env = {
        "_EVENTSPOOL_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "eventspool queue mo",
        "COMP_CWORD": "mo" if shell == "fish" else "2",
    }
    process = start(env={**env})
    out, err = process.communicate(timeout=60)

    assert "move" in out, err


HOSTILE = "\x1b]0;owned\x07\x9b31m\u202egnp.exe [bold red]x[/] \r\n\x7f"


def test_nothing_of_an_event_steers_the_terminal(run, queue, target, plane, enqueue):
    """Escape sequences, one-byte ones too, characters that turn lines around, and rich's own markup."""
    enqueue(HOSTILE)
    plane.script("status=404")
    run("worker", "--once", **target, **queue)
    [job] = ids(run, queue)
    told = ""
    for arguments in (
        ["show", job],
        ["show", job, "--json"],
        ["list"],
        ["failed"],
        ["export", "-", "--dry-run"],
    ):
        done = run("queue", *arguments, **queue)
        told += done.out + done.err
    assert [c for c in told if not c.isprintable() and c != "\n"] == []
    assert "[bold red]x[/]" in told
    assert run("queue", "show", job, "--json", **queue).json["payload"][0]["event"] == HOSTILE
