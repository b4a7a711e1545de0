"""What a producer was told is compared with what its server knows of: jobs are lost exactly where the server has lost their commit."""

from __future__ import annotations

from eventspool._backends.redis import history as module
from eventspool._backends.redis.history import History
from eventspool._job import new_job_id


def made(*commits):
    history = History()
    for number, *ids in commits:
        history.note(number, ids)
    return history


def gone(history, ids):
    return [job_id for job_id in ids if history.is_gone(job_id)]


def test_jobs_above_the_number_are_gone_and_others_are_not():
    history = made((10, "a", "b"), (20, "c"), (30, "d", "e"))
    assert gone(history, "abcdef") == []
    assert history.rewind(10, 0.0) == 3
    assert gone(history, "abcdef") == ["c", "d", "e"]
    assert history.told == 10


def test_a_server_that_knows_of_no_commit_has_lost_all():
    history = made((10, "a"), (20, "b"))
    assert history.rewind(0, 0.0) == 2
    assert gone(history, "ab") == ["a", "b"]


def test_what_is_stored_anew_is_not_gone():
    history = made((10, "a"), (20, "b"))
    history.rewind(10, 0.0)
    history.note(25, ["b"])
    assert gone(history, "ab") == []
    assert history.rewind(10, 0.0) == 1
    assert gone(history, "ab") == ["b"]


def test_what_was_lost_in_an_earlier_failover_stays_lost():
    history = made((10, "a"), (20, "b"), (30, "c"))
    history.rewind(20, 0.0)
    history.note(40, ["d"])
    history.rewind(10, 0.0)
    assert gone(history, "abcd") == ["b", "c", "d"]


def test_a_job_that_waits_for_replicas_does_so_no_more_where_the_server_has_lost_it():
    history = made((10, "a"), (20, "b"))
    history.unconfirmed.update("ab")
    history.rewind(10, 0.0)
    assert history.unconfirmed == {"a"}


def test_where_more_is_lost_than_is_remembered_every_older_job_counts_as_lost(monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED", 2)
    forgotten, *remembered = [new_job_id() for _ in range(3)]
    history = made((10, forgotten), *((20 + at, job_id) for at, job_id in enumerate(remembered)))
    assert history.rewind(5, 4e9) == 2
    assert gone(history, [forgotten, *remembered]) == [forgotten, *remembered]
    after = new_job_id()
    history.note(30, [after])
    assert gone(history, [after]) == []


def test_a_commit_that_is_not_remembered_any_more_and_not_lost_is_not_doubted(monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED", 2)
    ids = [new_job_id() for _ in range(4)]
    history = made(*((10 * at, job_id) for at, job_id in enumerate(ids, 1)))
    history.rewind(30, 4e9)
    assert gone(history, ids) == [ids[3]]


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    history = History()
    for number in range(1, 1000):
        history.note(number, [new_job_id()])
        if number % 7 == 0:
            history.rewind(number - 5, 0.0)
    assert (len(history._commits), len(history._gone)) <= (10, 10)
