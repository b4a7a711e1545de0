"""Bars on a terminal move from the beginning, page by page, also over queues of several pages."""

from __future__ import annotations

import contextlib

import pytest

from eventspool import QueueOpts
from eventspool._backends import create_backend
from eventspool._backends.redis.operated import OperatedQueue
from eventspool._backends.sqlite.backend import SQLiteBackend
from eventspool._claim import ClaimTerms
from eventspool._cli.commands.queue import opened
from eventspool._envelope import seal
from eventspool._job import NewJob, Settlement, SettlementKind, new_job_id
from eventspool._operate.selection import PAGE

MANY = 2 * PAGE + 100


@pytest.fixture
def many(queue):
    """A queue of so many failed jobs, of which each hundredth has an event of Ann's."""
    opts = QueueOpts(
        url=queue["EVENTSPOOL_QUEUE"], queue_name=queue["EVENTSPOOL_QUEUE_NAME"], is_multi_processor=True
    )
    with contextlib.closing(create_backend(opts)) as backend:
        backend.open()
        users = [b'{"userId":"%s"}' % (b"bob" if n % 100 else b"ann") for n in range(MANY)]
        backend.commit([NewJob(new_job_id(), seal([event, event]), 2) for event in users])
        while jobs := backend.claim("t", ClaimTerms(limit=1000, visibility_timeout=60)).jobs:
            backend.settle("t", [Settlement(job.id, SettlementKind.FAIL) for job in jobs])
        backend.leave("t")
    return queue


@pytest.fixture
def seen(monkeypatch):
    """What happens, in order: a bar appears (its words and its end), it moves on, the queue is read or changed."""
    happened = []

    class Bar:
        def __init__(self, *columns, **options):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def add_task(self, doing, *, total):
            happened.append((doing, total))

        def advance(self, task, count):
            happened.append(count)

    monkeypatch.setattr(opened, "on_terminal", lambda: True)
    monkeypatch.setattr("rich.progress.Progress", Bar)
    for kind in (SQLiteBackend, OperatedQueue):
        for name in ("jobs", "payload", "payloads", "purge", "replay"):
            method = getattr(kind, name)
            monkeypatch.setattr(
                kind, name, lambda *a, m=method, n=name, **o: happened.append(n) or m(*a, **o)
            )
    return happened


@pytest.mark.parametrize(
    ("arguments", "bars"),
    [
        (["purge", "--yes", "--state", "all", "--user-id", "ann"], ["erasing"]),
        (["purge", "--dry-run", "--user-id", "ann"], ["counting"]),
        (["purge", "--dry-run"], ["counting"]),
        (["purge", "--yes"], ["deleting"]),
        (["retry"], ["retrying"]),
        (["retry", "--dry-run"], ["counting"]),
        (["export", "out.jsonl"], ["exporting"]),
        (["export", "out.jsonl", "--user-id", "ann"], ["exporting"]),
        (["export", "out.jsonl", "--purge", "--yes"], ["listing", "exporting", "deleting"]),
    ],
    ids=" ".join,
)
def test_a_bar_moves_from_the_first_page_to_its_end(run, many, seen, arguments, bars):
    done = run("queue", *arguments, **many)

    assert done.status == 0, done
    assert [each for each in seen if isinstance(each, tuple)] == [(doing, MANY) for doing in bars]
    assert seen[0] == (bars[0], MANY), "the bar is there before the queue is read"
    moves = [each for each in seen if isinstance(each, int)]
    assert sum(moves) == MANY * len(bars)
    assert len(moves) >= 3 * len(bars)
    assert len(seen[: seen.index(moves[0])]) <= 5, "a page, and the one that is read ahead"
    assert len(seen) < 40, "no job is read or changed by itself"


def test_named_jobs_are_found_among_many_without_a_list(run, many, seen):
    [first] = run("queue", "list", "--limit", "1", "--json", **many).json
    seen.clear()

    assert run("queue", "retry", "--id", first["id"], "--json", **many).json == {"retried": 1}
    assert run("queue", "purge", "--id", first["id"], "--state", "waiting", "--yes", **many).status == 0
    assert "jobs" not in seen


@pytest.mark.parametrize("name", ["\ud800", "nope"])
@pytest.mark.parametrize("command", ["retry", "purge", "export"])
def test_an_id_that_is_not_there_is_named_as_such(run, failed, command, name):
    """Also one that is no text: what was typed may be any bytes."""
    more = {"retry": [], "purge": ["--yes"], "export": ["out.jsonl"]}[command]
    done = run("queue", command, *more, "--id", name, **failed)

    assert done.status == 1
    assert "1 job of those named" in done.err
