"""``queue resize`` divides a queue anew; every command shows the partitions as one queue."""

from __future__ import annotations

import pytest

from eventspool import Client, QueueOpts
from eventspool._backends import create_backend
from eventspool._claim import ClaimTerms
from eventspool._cli.commands import worker
from eventspool._contract.tools import fail, ids_of, new_jobs
from redis_servers import new_queue_name


@pytest.fixture
def address(redis_server):
    return ("-q", redis_server.url, "--queue-name", new_queue_name())


@pytest.fixture
def backend(address):
    """The queue, spread over three partitions, as its clients have it."""
    opened = create_backend(QueueOpts(url=address[1], queue_name=address[3], ordering="none", partitions=3))
    opened.open()
    yield opened
    opened.close()


def status(run, address):
    return run("queue", "status", "--json", *address).json


def test_a_resize_says_what_it_did_and_status_shows_the_partitions(run, address, backend):
    for _ in range(3):
        backend.commit(new_jobs(2))
    assert [each["unfinished"]["jobs"] for each in status(run, address)["partitions"]] == [2, 2, 2]
    done = run("queue", "resize", "4", "--json", *address)
    assert (done.status, done.json) == (0, {"partitions": 4, "draining_jobs": 6})
    backend.commit(new_jobs(1))
    found = status(run, address)
    assert found["waiting"]["jobs"] == 7
    assert sum(each["sealed"] for each in found["partitions"]) == 3
    shown = run("queue", "status", *address).out
    assert shown.count("draining") == 3
    assert shown.count(" open ") == 4
    run("queue", "purge", "--state", "waiting", "--yes", *address)
    assert run("queue", "status", *address).out.count("drained") == 3, "they remember what was purged"


def test_a_queue_of_one_partition_shows_none(run, address):
    assert status(run, address)["partitions"] == []
    assert "partition" not in run("queue", "status", *address).out


@pytest.mark.parametrize("number", ["0", "257", "x"])
def test_a_wrong_number_is_wrong_usage(run, address, number):
    assert run("queue", "resize", number, *address).status == 2


def test_a_file_is_not_divided(run, tmp_path):
    create_backend(QueueOpts(url=f"sqlite:///{tmp_path}/q.db")).open()
    done = run("queue", "resize", "2", "-q", f"sqlite:///{tmp_path}/q.db")
    assert done.status != 0
    assert "only a queue in Redis" in str(done)


def test_operators_list_retry_and_purge_over_all_partitions(run, address, backend):
    jobs = [job for _ in range(6) for job in new_jobs(1)]
    for job in jobs:
        backend.commit([job])
    claimed = []
    while found := backend.claim("t", ClaimTerms(limit=9, visibility_timeout=60)).jobs:
        claimed += ids_of(found)
    backend.settle("t", [fail(job_id) for job_id in claimed])
    assert len(run("queue", "list", "--json", *address).json) == 6
    assert run("queue", "retry", "--id", claimed[0], "--json", *address).json == {"retried": 1}
    assert run("queue", "purge", "--all", "--yes", "--json", *address).json == {"purged": 5}
    assert status(run, address)["waiting"]["jobs"] == 1


def test_jobs_move_into_a_divided_queue_without_a_word_of_its_order(run, address, backend, tmp_path):
    source = f"sqlite:///{tmp_path}/q.db"
    here = create_backend(QueueOpts(url=source, queue_name=address[3]))
    here.open()
    here.commit(new_jobs(60))
    here.close()
    command = ("queue", "move", "-q", source, "--queue-name", address[3], "--to", address[1], "--json")
    assert run(*command).json["jobs"] == 60
    assert status(run, address)["waiting"]["jobs"] == 60


def test_ordering_and_multi_that_contradict_each_other_are_refused(run, address):
    done = run("send", "-", "--enqueue-only", "--single", "--ordering", "none", *address)
    assert done.status != 0
    assert "contradicts" in str(done)


def deliver(run, target, address, *options):
    return run("worker", "--once", *options, "--json", *address, **target)


@pytest.mark.parametrize("ordering", ["none", "per_user"])
def test_a_worker_that_is_told_nothing_of_order_goes_by_the_queue(run, plane, target, address, ordering):
    opts = QueueOpts(url=address[1], queue_name=address[3], ordering=ordering, partitions=3)
    with Client("key", data_plane_url=plane.url, persistence=opts, process=False) as client:
        for number in range(9):
            client.track(f"user-{number}", "E")
        client.flush(timeout=0.0)
    done = deliver(run, target, address)
    assert (done.status, plane.stats().unique) == (0, 9), done
    assert f"is divided into 3 partitions and keeps --ordering {ordering}" in done.err


@pytest.mark.parametrize("options", [["--single"], ["--ordering", "fifo"]])
def test_a_worker_that_is_told_to_keep_a_strict_order_is_refused(run, target, address, backend, options):
    backend.commit(new_jobs(1))
    done = deliver(run, target, address, *options)
    assert done.status == 2
    assert "divided into 3 partitions, which have no common order" in done.err
    assert "--ordering none" in done.err
    assert backend.stats().waiting.jobs == 1


def test_a_worker_whose_queue_is_divided_later_ends_and_says_so(run, target, address, backend, monkeypatch):
    monkeypatch.setattr(worker, "keep_order", _told_nothing_at_first(worker.keep_order))
    done = deliver(run, target, address)
    assert done.status == 2
    assert "divided into 3 partitions" in done.err


def _told_nothing_at_first(keep_order):
    answers = iter([lambda queue, _: (queue, "")])
    return lambda queue, sharing: next(answers, keep_order)(queue, sharing)
