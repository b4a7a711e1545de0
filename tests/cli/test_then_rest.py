"""``eventspool queue retry --limit N --then-rest``: a few go first, and show whether the cause is mended."""

from __future__ import annotations

import pytest


@pytest.fixture
def working(run, start, failed, target, plane):
    """A queue with three failed jobs, and a worker that runs."""
    enqueued = run("queue", "list", "--json", **failed).json
    assert len(enqueued) == 2
    return lambda: start("worker", env={**target, **failed})


def test_the_rest_follows_once_the_first_were_delivered(run, failed, working, plane):
    working()
    done = run("queue", "retry", "--limit", "1", "--then-rest", "--json", **failed)
    assert done.status == 0, done
    assert done.json == {"retried": 2, "tried_first": 1, "delivered": 1, "unfinished": 0, "refused": {}}
    assert plane.wait_for(lambda stats: stats.unique == 2, timeout=60)


def test_the_rest_stays_where_one_was_refused_again(run, failed, working, plane):
    plane.script("reject=batch,event=bad-0")
    working()
    done = run("queue", "retry", "--limit", "1", "--then-rest", **failed)
    assert done.status == 1
    assert "0 of 1 job delivered; 1 refused again, as rejected: " in done.err
    assert "The rest was not retried" in done.err
    assert len(run("queue", "list", "--json", **failed).json) == 2
    assert [each["jobs"] for each in run("queue", "trail", "--json", **failed).json] == [1]


def test_what_is_not_finished_in_time_holds_back_the_rest(run, failed):
    done = run("queue", "retry", "--limit", "1", "--then-rest", "--wait", "0", **failed)
    assert done.status == 1
    assert "No worker runs" in done.err
    assert "1 not finished" in done.err
    assert len(run("queue", "list", "--json", **failed).json) == 1


def test_a_paused_queue_is_left_alone(run, failed):
    run("queue", "pause", **failed)
    done = run("queue", "retry", "--limit", "1", "--then-rest", **failed)
    assert done.status == 1
    assert "resume" in done.err
    assert len(run("queue", "list", "--json", **failed).json) == 2


@pytest.mark.parametrize(
    "options", [[], ["--limit", "1", "--state", "delayed"], ["--limit", "1", "--dry-run"]]
)
def test_it_needs_a_number_of_failed_jobs(run, failed, options):
    done = run("queue", "retry", "--then-rest", *options, **failed)
    assert done.status == 2
    assert "--then-rest" in done.err


def test_a_job_that_is_not_there_is_said(run, failed):
    done = run("queue", "retry", "--id", "misspelt", "--limit", "1", "--then-rest", **failed)
    assert done.status == 1
    assert "1 job of those named was not there" in done.err


def test_with_nothing_failed_there_is_nothing_to_do(run, queue, enqueue):
    enqueue("good")
    done = run("queue", "retry", "--limit", "1", "--then-rest", "--json", **queue)
    assert done.status == 0
    assert done.json["retried"] == 0
