"""The very moment at which a lease or a delay ends, and clocks that are set back. The clock of these tests stands still."""

from __future__ import annotations

import pytest

from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import bury, fail, ids_of, new_job, new_jobs, retry
from eventspool._job import PURGED, JobState

TERM = 8.0


def claim(backend, token="t", limit=9):
    return backend.claim(token, ClaimTerms(limit=limit, visibility_timeout=TERM))


def states(backend, job_id):
    return [state for state in JobState if job_id in ids_of(backend.jobs(state, limit=9))]


@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
def test_a_lease_lasts_until_its_moment_and_has_ended_then(make, clock, ordering):
    backend = make(clock=clock, ordering=ordering)
    [job] = new_jobs(1)
    backend.commit([job])
    claim(backend)
    clock.now += TERM - 0.001
    assert states(backend, job.id) == [JobState.LEASED]
    assert backend.stats().leased.jobs == 1
    refused = claim(backend, "u")
    assert refused.jobs == ()
    assert refused.wait == pytest.approx(0.001, abs=1e-6)
    clock.now += 0.001
    assert states(backend, job.id) == [JobState.WAITING]
    assert backend.stats().waiting.jobs == 1
    [again] = claim(backend, "u").jobs
    assert (again.id, again.attempts, again.stalled) == (job.id, 1, True)


@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
def test_a_delay_lasts_until_its_moment_and_has_ended_then(make, clock, ordering):
    backend = make(clock=clock, ordering=ordering)
    [job] = new_jobs(1)
    backend.commit([job])
    claim(backend)
    backend.settle("t", [retry(job.id, delay=TERM)])
    clock.now += TERM - 0.001
    assert states(backend, job.id) == [JobState.DELAYED]
    assert backend.stats().delayed.jobs == 1
    assert claim(backend).wait == pytest.approx(0.001, abs=1e-6)
    clock.now += 0.001
    assert states(backend, job.id) == [JobState.WAITING]
    assert backend.stats().waiting.jobs == 1
    assert backend.expedite([job.id]) == 0, "it is due"
    assert backend.purge(JobState.DELAYED, [job.id]) == 0
    assert ids_of(claim(backend).jobs) == [job.id]


def test_a_strict_queue_passes_on_at_the_moment_its_lease_ends(make, clock):
    backend = make(clock=clock, ordering=Ordering.FIFO)
    claim(backend, "dead")
    job = new_job()
    backend.commit([job])
    clock.now += TERM - 0.001
    refused = claim(backend)
    assert refused.jobs == ()
    assert refused.wait == pytest.approx(0.001, abs=1e-6)
    clock.now += 0.001
    assert ids_of(claim(backend).jobs) == [job.id]


def test_a_successor_waits_for_the_dead_holders_queue_and_not_for_its_jobs(make, clock):
    backend = make(clock=clock, ordering=Ordering.FIFO)
    [job] = new_jobs(1)
    backend.commit([job])
    backend.claim("dead", ClaimTerms(limit=1, visibility_timeout=60.0))
    clock.now += 10.0
    [taken] = claim(backend).jobs
    assert (taken.id, taken.attempts, taken.stalled) == (job.id, 1, True)


def test_a_retry_under_way_says_when_it_ends(make, clock):
    backend = make(clock=clock, ordering=Ordering.FIFO)
    [job] = new_jobs(1)
    backend.commit([job])
    claim(backend)
    backend.settle("t", [retry(job.id, delay=3600.0)])
    assert claim(backend).wait == pytest.approx(3600.0)


def test_a_claim_in_vain_says_when_a_job_of_its_own_queue_is_due(make, clock):
    for name, delay in (("one", 60.0), ("two", 5.0)):
        backend = make(clock=clock, queue_name=name)
        [job] = new_jobs(1)
        backend.commit([job])
        claim(backend)
        backend.settle("t", [retry(job.id, delay=delay)])
        clock.now += 0.5
    assert claim(make(clock=clock, queue_name="one")).wait == pytest.approx(59.0)
    assert claim(make(clock=clock, queue_name="two")).wait == pytest.approx(4.5)
    assert claim(make(clock=clock, queue_name="three")).wait is None


@pytest.mark.parametrize("step", ["commit", "settle", "replay", "expedite"])
def test_what_became_due_stays_due_where_the_clock_is_set_back(make, clock, step):
    """That holds for another process, too, which never saw the later time."""
    backend, other = make(clock=clock), make(clock=clock)
    [failed] = bury(backend, 1)
    [delayed] = new_jobs(1)
    backend.commit([delayed])
    claim(backend)
    backend.settle("t", [retry(delayed.id, delay=60.0)])
    fresh = new_job()
    if step == "settle":
        backend.commit([fresh])
        claim(backend, limit=1)
    clock.now += 30.0
    if step == "commit":
        backend.commit([fresh])
    elif step == "settle":
        backend.settle("t", [retry(fresh.id)])
    elif step == "replay":
        backend.replay([failed])
    else:
        backend.expedite([delayed.id])
    clock.now -= 30.0
    due = {"replay": failed, "expedite": delayed.id}.get(step, fresh.id)
    assert ids_of(claim(other).jobs) == [due]


@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
def test_a_lease_is_no_longer_where_the_clock_is_set_back(make, clock, ordering):
    backend, other = make(clock=clock, ordering=ordering), make(clock=clock, ordering=ordering)
    [job] = new_jobs(1)
    backend.commit([job])
    clock.now += 30.0
    claim(backend)
    clock.now -= 30.0
    assert claim(other, "u").jobs == ()
    clock.now += TERM
    assert ids_of(claim(other, "u").jobs) == [job.id]


def test_a_job_listed_says_when_it_comes_due_in_the_time_of_who_asks(make, clock):
    backend = make(clock=clock)
    [job] = new_jobs(1)
    backend.commit([job])
    claim(backend)
    clock.now += 2.0
    backend.settle("t", [retry(job.id, delay=60.0)])
    clock.now -= 2.0
    [listed] = backend.jobs(JobState.DELAYED, limit=9)
    assert listed.next_attempt_at == pytest.approx(clock.now + 60.0, rel=0.0, abs=0.001)
    backend.expedite([job.id])
    claim(backend)
    backend.settle("t", [fail(job.id)])
    [listed] = backend.jobs(JobState.FAILED, limit=9)
    assert listed.next_attempt_at is None


def test_purged_jobs_are_forgotten_after_a_day(make, clock):
    backend, elsewhere = make(clock=clock), make(clock=clock, queue_name="another")
    ids = ids_of(jobs := new_jobs(3))
    for each in (backend, elsewhere):
        each.commit(jobs)
        each.purge(JobState.WAITING, ids[:1])
    clock.now += 86_399.0
    backend.purge(JobState.WAITING, ids[1:2])
    assert backend.lookup(ids) == {ids[0]: PURGED, ids[1]: PURGED, ids[2]: None}
    clock.now += 1.0
    backend.purge(JobState.WAITING, ids[2:])
    assert backend.lookup(ids) == {ids[1]: PURGED, ids[2]: PURGED}
    assert elsewhere.lookup(ids) == {ids[0]: PURGED, ids[1]: None, ids[2]: None}, (
        "each queue remembers its own jobs"
    )
