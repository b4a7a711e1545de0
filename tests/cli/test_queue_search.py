"""Jobs are found by what is in them, with the same options in every command."""

from __future__ import annotations

import contextlib
import json

import pytest

from eventspool import QueueOpts
from eventspool._backends import create_backend
from eventspool._claim import ClaimTerms
from eventspool._envelope import seal
from eventspool._job import Failure, NewJob, Settlement, SettlementKind, new_job_id
from eventspool._operate.selection import PAGE

MANY = PAGE + 50


def event(name, user, number):
    fields = {
        "type": "track",
        "event": name,
        "userId": user,
        "messageId": f"m-{number}",
        "properties": {"plan": "Pro"},
    }
    return json.dumps(fields).encode()


@pytest.fixture
def many(queue):
    """Failed jobs of two events, one of them of Ann's; each hundredth is an order. And a waiting one."""
    opts = QueueOpts(
        url=queue["EVENTSPOOL_QUEUE"], queue_name=queue["EVENTSPOOL_QUEUE_NAME"], is_multi_processor=True
    )
    with contextlib.closing(create_backend(opts)) as backend:
        backend.open()
        names = ["Viewed" if n % 100 else "Order Completed" for n in range(MANY)]
        batches = [[event(name, "ann", n), event("Other", "bob", f"o{n}")] for n, name in enumerate(names)]
        backend.commit([NewJob(new_job_id(), seal(events), 2) for events in batches])
        failure = Failure("rejected", "400: no such field", 2)
        while jobs := backend.claim("t", ClaimTerms(limit=1000, visibility_timeout=60)).jobs:
            backend.settle("t", [Settlement(job.id, SettlementKind.FAIL, failure=failure) for job in jobs])
        backend.commit([NewJob(new_job_id(), seal([event("Order Completed", "eve", "w")]), 1)])
        backend.leave("t")
    return queue


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--event", "Order Completed"], 6),
        (["--event", "Order Completed", "--state", "all"], 7),
        (["--event", "Order Completed", "--user-id", "bob"], 0),
        (["--user-id", "eve", "--state", "waiting"], 1),
        (["--message-id", "m-7"], 1),
        (["--text", "no such"], 0),
        (["--error", "SUCH", "--text", "pro", "--limit", "9"], 9),
        (["--reason", "rejected", "--newer-than", "1h", "--event", "Order Completed"], 6),
        (["--older-than", "1h", "--state", "all"], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_same_options_find_the_same_jobs_everywhere(run, many, options, found):
    if "--state" not in options:
        options = [*options, "--state", "failed"]
    listed = run("queue", "list", *options, "--json", **many)
    assert (listed.status, len(listed.json)) == (0, found)
    assert f"found {found} job" in listed.err
    shown = run("queue", "show", *options, "--json", **many).json
    assert [job["id"] for job in shown] == [job["id"] for job in listed.json]
    exported = run("queue", "export", *options, "-", **many)
    payloads = [event for job in shown for event in job["payload"]]
    assert [json.loads(line) for line in exported.out.splitlines()] == payloads
    if "waiting" not in options and "all" not in options:
        done = run("queue", "retry", *options, "--dry-run", "--json", **many).json
        assert done["retried"] == found
    if "--user-id" not in options:
        assert run("queue", "purge", *options, "--dry-run", "--json", **many).json["purged"] == found


def test_only_what_was_asked_for_is_shown_of_a_job(run, many):
    shown = run("queue", "show", "--message-id", "m-100", **many)
    assert "1. track Order Completed" in shown.out
    assert "Other" not in shown.out
    assert f"Looked at {MANY + 1:,} jobs, found 1 job." in shown.err
    listed = run("queue", "list", "--message-id", "m-100", **many)
    assert "match" in listed.out.splitlines()[0]
    assert "rejected: 400: no such field" in listed.out


def test_a_job_goes_as_a_whole_and_that_is_said(run, many):
    done = run("queue", "retry", "--event", "Order Completed", "--limit", "2", **many)
    assert "retried 2 jobs" in done.out
    assert "these jobs hold 4 events, of which 2 match" in done.err
    done = run("queue", "purge", "--event", "Order Completed", "--yes", "--json", **many).json
    assert done == {"purged": 4, "events": 8, "matching_events": 4, "unreadable_jobs": 0}
    assert run("queue", "export", "--message-id", "m-7", "--purge", "--yes", "out.jsonl", **many).status == 0
    left = run("queue", "status", "--json", **many).json
    assert (left["failed"]["jobs"], left["waiting"]["jobs"]) == (MANY - 7, 3)


def test_a_few_jobs_are_retried_or_purged_first(run, many):
    assert run("queue", "retry", "--limit", "10", "--json", **many).json == {"retried": 10}
    assert run("queue", "purge", "--state", "all", "--limit", "20", "--yes", "--json", **many).json == {
        "purged": 20
    }
    assert run("queue", "purge", "--limit", "5", "--dry-run", "--json", **many).json["purged"] == 5
    left = run("queue", "status", "--json", **many).json
    assert left["failed"]["jobs"] + left["waiting"]["jobs"] == MANY + 1 - 20


def test_a_command_erases_one_users_events(run, many):
    assert run("queue", "erase", "--yes", **many).status == 2
    assert run("queue", "erase", "--user-id", "ann", "--event", "Viewed", "--yes", **many).status == 2
    assert (
        run("queue", "erase", "--user-id", "ann", "--error", "other", "--yes", "--json", **many).json[
            "erased"
        ]
        == 0
    )
    assert run("queue", "erase", "--user-id", "ann", "--yes", "--json", **many).json["erased"] == MANY
    assert (
        run("queue", "list", "--user-id", "bob", "--limit", "1000", "--json", **many).json[0]["events"] == 1
    )


def test_jobs_that_cannot_be_read_are_named_and_an_export_without_them_fails(run, many):
    opts = QueueOpts(url=many["EVENTSPOOL_QUEUE"], queue_name=many["EVENTSPOOL_QUEUE_NAME"])
    with contextlib.closing(create_backend(opts)) as backend:
        backend.open()
        backend.commit([NewJob(new_job_id(), b"junk", 1)])
    for command in (["list"], ["show"], ["purge", "--dry-run"], ["export", "out.jsonl"]):
        done = run("queue", *command, "--state", "all", "--message-id", "m-7", **many)
        assert "1 job is not readable" in done.err, done
        assert done.status == (1 if command[0] == "export" else 0)


def test_a_list_shows_the_first_ones_unless_all_are_asked_for(run, many):
    found = run("queue", "list", "--user-id", "ann", "--json", **many).json
    assert len(found) == 50 < MANY
    assert len(run("queue", "list", "--user-id", "ann", "--all", "--json", **many).json) == MANY


def test_an_option_that_means_nothing_there_is_refused(run, many):
    assert run("queue", "show", **many).status == 2
    assert run("queue", "show", "some-job", "--event", "X", **many).status == 2
    assert run("queue", "list", "--state", "all", "--after", "some-job", **many).status == 2
    assert run("queue", "retry", "--state", "delayed", "--error", "x", **many).status == 2
    assert run("queue", "retry", "--all", "--event", "x", **many).status == 2


def test_the_shell_is_offered_the_reasons(run, many, monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "eventspool queue list --reason max")
    monkeypatch.setenv("COMP_CWORD", "4")
    assert "max_attempts" in run(_EVENTSPOOL_COMPLETE="bash_complete").out
