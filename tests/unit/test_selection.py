"""Which jobs are meant, and the walk over them: page by page, while they leave the lists or come back into them."""

from __future__ import annotations

import itertools

import pytest

from eventspool import ConfigError, Queue
from eventspool._backends.memory import MemoryBackend
from eventspool._claim import ClaimTerms
from eventspool._contract.tools import fail, ids_of, retry
from eventspool._envelope import seal
from eventspool._job import JobState, NewJob
from eventspool._operate.selection import PAGE, Selection, state_of, walk

PAYLOAD = seal([b'{"type":"track"}'])
MANY = 2 * PAGE + 100


@pytest.fixture
def backend():
    return MemoryBackend()


@pytest.fixture
def queue(backend):
    return Queue(backend)


@pytest.fixture
def bury(backend):
    """Let many jobs fail, for the reasons in turn."""
    numbers = itertools.count(1)

    def bury(*reasons):
        jobs = [NewJob(f"{next(numbers):012x}{0:016x}", PAYLOAD, 1) for _ in range(MANY)]
        backend.commit(jobs)
        claimed = backend.claim("t", ClaimTerms(limit=MANY, visibility_timeout=60)).jobs
        failed = zip(claimed, itertools.cycle(reasons), strict=False)
        backend.settle("t", [fail(job.id, reason=reason) for job, reason in failed])
        return ids_of(jobs)

    return bury


@pytest.fixture
def steps(backend, monkeypatch):
    """The steps that are taken on the queue, in order: a list was read, or jobs left it."""
    taken = []

    def watch(name):
        method = getattr(backend, name)

        def noted(*arguments, **options):
            answer = method(*arguments, **options)
            taken.append((name, len(answer) if isinstance(answer, list) else answer))
            return answer

        monkeypatch.setattr(backend, name, noted)

    for name in ("jobs", "replay", "purge"):
        watch(name)
    return taken


@pytest.mark.parametrize("act", ["replay", "purge"])
def test_what_changes_jobs_reads_one_page_ahead_and_never_the_whole_list(queue, bury, steps, act):
    bury("rejected")
    assert (queue.retry_failed() if act == "replay" else queue.purge()) == MANY
    assert steps == [("jobs", PAGE), ("jobs", PAGE), (act, PAGE), ("jobs", 100), (act, PAGE), (act, 100)]


def test_those_of_one_reason_are_all_found_while_they_leave_the_list(queue, bury):
    bury("rejected", "stalled", "stalled")
    rejected = queue.failed_reasons()["rejected"].jobs
    assert queue.purge(reason="rejected") == rejected
    assert queue.retry_failed(reason="stalled") == MANY - rejected
    assert queue.stats().failed.jobs == 0


def test_a_retry_ends_where_jobs_fail_again_at_once(queue, backend, bury, monkeypatch):
    ids = bury("rejected")
    replay = backend.replay

    def retry_and_fail(page):
        count = replay(page)
        claimed = backend.claim("t", ClaimTerms(limit=MANY, visibility_timeout=60)).jobs
        backend.settle("t", [fail(job.id) for job in claimed])
        return count

    monkeypatch.setattr(backend, "replay", retry_and_fail)
    assert queue.retry_failed() == MANY
    assert sorted(job.id for page in walk(backend, JobState.FAILED) for job in page) == sorted(ids)


def test_a_retry_of_one_reason_takes_each_job_once_where_they_fail_again_at_once(
    queue, backend, bury, monkeypatch
):
    bury("rejected", "stalled")
    replay = backend.replay

    def retry_and_fail(page):
        count = replay(page)
        claimed = backend.claim("t", ClaimTerms(limit=MANY, visibility_timeout=60)).jobs
        backend.settle("t", [fail(job.id, reason="rejected") for job in claimed])
        return count

    monkeypatch.setattr(backend, "replay", retry_and_fail)
    assert queue.retry_failed(reason="rejected") == MANY // 2


def test_a_job_that_is_delayed_anew_meanwhile_keeps_its_backoff(queue, backend, monkeypatch):
    jobs = [NewJob(f"{number:012x}{0:016x}", PAYLOAD, 1) for number in range(1, MANY + 1)]
    backend.commit(jobs)

    def put_off():
        claimed = backend.claim("t", ClaimTerms(limit=MANY, visibility_timeout=60)).jobs
        backend.settle("t", [retry(job.id, delay=60) for job in claimed])

    put_off()
    expedite = backend.expedite

    def expedite_and_put_off(page):
        count = expedite(page)
        put_off()
        return count

    monkeypatch.setattr(backend, "expedite", expedite_and_put_off)
    assert queue.retry_now() == MANY
    assert {job.attempts for page in walk(backend, JobState.DELAYED) for job in page} == {2}


def test_a_purge_ends_though_jobs_are_stored_as_fast(queue, backend, monkeypatch):
    numbers = itertools.count(1)

    def store():
        backend.commit([NewJob(f"{next(numbers):012x}{0:016x}", PAYLOAD, 1) for _ in range(MANY)])

    store()
    purge = backend.purge
    monkeypatch.setattr(backend, "purge", lambda *arguments: store() or purge(*arguments))
    assert queue.purge("waiting") == MANY


def test_a_job_that_fails_while_the_lists_are_read_is_found_by_its_reason(queue, backend, monkeypatch):
    [job] = jobs = [NewJob(f"{1:012x}{0:016x}", PAYLOAD, 1)]
    backend.commit(jobs)
    listed = backend.jobs

    def list_and_fail(state, **options):
        found = listed(state, **options)
        claimed = backend.claim("t", ClaimTerms(limit=1, visibility_timeout=60)).jobs
        backend.settle("t", [fail(each.id, reason="rejected") for each in claimed])
        return found

    monkeypatch.setattr(backend, "jobs", list_and_fail)
    assert queue.erase("nobody", ids=[job.id], reason="rejected").looked_at == 1


def test_ids_are_looked_up_and_no_list_is_read_for_them(queue, bury, steps):
    ids = bury("rejected", "stalled")
    assert queue.retry_failed([ids[-1], ids[-1], "never-stored"], "stalled") == 1
    assert queue.purge(ids=ids[:1], reason="rejected") == 1
    assert [name for name, _ in steps] == ["replay", "purge"]


def test_a_list_is_read_no_further_than_to_the_last_id_asked_for(backend, bury, steps):
    ids = bury("rejected")
    found = Selection((JobState.FAILED, JobState.WAITING), ids[:2]).pages(backend)
    assert [job.id for page in found for job in page] == list(ids[:2])
    assert len(steps) <= 3


def test_conditions_must_all_hold(backend, bury):
    bury("rejected", "stalled")
    some = Selection((JobState.FAILED,), reason="stalled", older_than=1.0, now=1.051)
    assert not some.is_everything
    found = [job for page in some.pages(backend) for job in page]
    assert [(job.reason, job.created_at) for job in found] == [
        ("stalled", number / 1000) for number in range(2, 51, 2)
    ]


def test_the_last_page_of_a_walk_is_not_full(backend, bury):
    bury("rejected")
    assert [len(page) for page in walk(backend, JobState.FAILED)] == [PAGE, PAGE, 100]
    assert [len(page) for page in walk(backend, JobState.FAILED, size=MANY)] == [MANY, 0]
    assert [len(page) for page in walk(backend, JobState.WAITING)] == [0]


def test_an_age_is_a_number_and_a_state_one_that_there_is():
    with pytest.raises(ConfigError, match="older_than"):
        Selection((JobState.FAILED,), older_than=-1)
    with pytest.raises(ConfigError, match="waiting, delayed, leased, failed"):
        state_of("gone")
