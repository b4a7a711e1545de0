"""``eventspool queue trail`` and ``pause --reason``: operators see what others did."""

from __future__ import annotations

import contextlib

import pytest

from eventspool import QueueError, QueueOpts
from eventspool._backends import create_backend
from eventspool._cli.commands.queue.move import _move
from eventspool._envelope import seal
from eventspool._job import NewJob, new_job_id
from eventspool._operate.queue import open_queue_of


def test_the_trail_names_who_did_what_and_when(run, failed):
    [job, _] = [each["id"] for each in run("queue", "list", "--json", **failed).json]
    run("queue", "retry", "--id", job, **failed, EVENTSPOOL_ACTOR="ann@web1")
    run("queue", "pause", "--reason", "the warehouse moves", **failed, EVENTSPOOL_ACTOR="bob")
    pause, retry = run("queue", "trail", "--json", **failed).json
    assert (pause["actor"], pause["action"], pause["note"]) == ("bob", "pause", "the warehouse moves")
    assert (retry["actor"], retry["action"], retry["jobs"]) == ("ann@web1", "retry", 1)
    assert retry["selection"] == {"state": "failed", "ids": [job]}

    _, _, *rows = run("queue", "trail", **failed).out.splitlines()
    assert ["the warehouse moves" in row for row in rows] == [True, False]
    assert f"retry 1 job (state failed, job {job})" in rows[1]
    last = run("queue", "trail", "--limit", "1", **failed)
    assert f"--before {pause['position']}" in last.err
    rest = run("queue", "trail", "--before", str(pause["position"]), "--json", **failed).json
    assert rest == [retry]


def test_an_export_is_in_the_trail_and_a_dry_run_is_not(run, failed):
    run("queue", "export", "--dry-run", "out.jsonl", **failed)
    run("queue", "retry", "--dry-run", **failed)
    assert run("queue", "trail", **failed).out == ""
    run("queue", "export", "--purge", "--yes", "out.jsonl", **failed)
    told = [
        (each["action"], each["jobs"], each["events"])
        for each in run("queue", "trail", "--json", **failed).json
    ]
    assert told == [("purge", 2, None), ("export", None, 2)]


def test_a_move_is_in_the_trail_of_both_queues(run, failed, tmp_path):
    there = f"sqlite:///{tmp_path}/there.db"
    name = failed["EVENTSPOOL_QUEUE_NAME"]
    assert run("queue", "move", "--to", there, "--failed", **failed).status == 0
    for queue, note in (
        (failed, f"to {name} ({there})"),
        ({**failed, "EVENTSPOOL_QUEUE": there}, f"from {name} ("),
    ):
        [move] = run("queue", "trail", "--json", **queue).json
        assert (move["action"], move["jobs"]) == ("move", 2)
        assert move["note"].startswith(note)


def test_a_move_that_ends_half_done_is_in_the_trail_of_both_queues(tmp_path):
    here = QueueOpts(url=f"sqlite:///{tmp_path}/here.db", queue_name="orders")
    there = QueueOpts(url=f"sqlite:///{tmp_path}/there.db", queue_name="orders", max_jobs=70)
    with contextlib.closing(create_backend(here)) as backend:
        backend.open()
        backend.commit([NewJob(new_job_id(), seal([b"{}", b"{}"]), 2) for _ in range(100)])
    with pytest.raises(QueueError, match="full after 70 jobs"):
        _move(here, there, 100, as_it_is=False, failed=False, follow=False)

    for opts in (here, there):
        with open_queue_of(opts) as queue:
            [move] = queue.trail()
            assert (move.action, move.jobs, move.events) == ("move", 70, 140)


def test_status_says_who_paused_the_queue_and_why(run, failed):
    assert run("queue", "status", "--json", **failed).json["pause"] is None
    run("queue", "pause", "--reason", "the warehouse moves", **failed, EVENTSPOOL_ACTOR="ann")
    pause = run("queue", "status", "--json", **failed).json["pause"]
    assert (pause["actor"], pause["reason"]) == ("ann", "the warehouse moves")
    assert pause["since"].endswith("Z")
    [row] = [row for row in run("queue", "status", **failed).out.splitlines() if row.startswith("paused")]
    assert "by ann, " in row
    assert "ago, 'the warehouse moves'" in row
