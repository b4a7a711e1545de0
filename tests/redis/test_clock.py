"""The server's clock is set back, or one that is behind takes over: nothing stored waits for it to catch up."""

from __future__ import annotations

import time

import pytest

from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import LONG, SOON, claim_soon, eventually, ids_of, new_job, new_jobs, retry
from eventspool._job import JobState
from redis_servers import move_clock

HOUR = 3600.0
MOMENT = 1.0
COARSE = 0.1
"""The time is noted no more often."""


@pytest.fixture
def set_back(make, raw):
    """Set the clock of this test's own queue back by an hour."""
    return lambda: move_clock(raw, make.prefix, -HOUR)


def claim(backend, token="t"):
    return backend.claim(token, ClaimTerms(limit=9, visibility_timeout=LONG))


@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO], ids=["shared", "fifo"])
def test_what_was_stored_before_the_clock_was_set_back_can_be_claimed_at_once(make, set_back, ordering):
    backend = make(ordering=ordering)
    jobs = new_jobs(3)
    backend.commit(jobs[:2])
    set_back()
    backend.commit(jobs[2:])
    assert backend.stats().waiting.jobs == 3
    assert ids_of(claim(backend).jobs) == ids_of(jobs), "and in their order"


@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO], ids=["shared", "fifo"])
def test_a_retry_comes_due_in_its_time_although_the_clock_is_set_back(make, set_back, ordering):
    backend = make(ordering=ordering)
    jobs = new_jobs(2)
    backend.commit(jobs)
    claim_soon(backend, "t")
    backend.settle("t", [retry(jobs[0].id, delay=MOMENT)])
    if ordering is not Ordering.FIFO:
        claim_soon(backend, "other")
    set_back()
    early = claim(backend)
    assert early.jobs == (), "not before, and in order it holds up those behind it"
    assert 0 < early.wait <= MOMENT + COARSE
    assert claim_soon(backend, "t")[0].id == jobs[0].id


def test_a_lease_runs_out_in_its_time_although_the_clock_is_set_back(make, set_back):
    backend = make()
    backend.commit(new_jobs(1))
    claim_soon(backend, "dead", visibility_timeout=MOMENT)
    set_back()
    assert claim(backend).jobs == ()
    assert claim_soon(backend, "t")[0].stalled


def test_a_stand_by_takes_over_from_a_dead_holder_although_the_clock_is_set_back(make, set_back):
    holder, standby = make(ordering=Ordering.FIFO), make(ordering=Ordering.FIFO)
    [job] = new_jobs(1)
    holder.commit([job])
    claim_soon(holder, "dead", visibility_timeout=MOMENT)
    set_back()
    early = claim(standby)
    assert early.jobs == ()
    assert 0 < early.wait <= MOMENT + COARSE
    assert ids_of(claim_soon(standby, "t")) == [job.id]
    assert holder.renew("dead", [job.id], visibility_timeout=LONG) == {job.id}


def test_a_holder_that_lives_keeps_the_queue_although_the_clock_is_set_back(make, set_back):
    holder, standby = make(ordering=Ordering.FIFO), make(ordering=Ordering.FIFO)
    [job] = new_jobs(1)
    holder.commit([job])
    claim_soon(holder, "t", visibility_timeout=MOMENT)
    set_back()
    assert holder.renew("t", [job.id], visibility_timeout=LONG) == set()
    assert claim(standby, "u").wait > MOMENT
    assert holder.settle("t", [retry(job.id)]) == [True]
    holder.leave("t")
    assert ids_of(claim(standby, "u").jobs) == [job.id]


def test_a_queue_lease_that_ran_out_untaken_hinders_nobody_while_the_server_still_keeps_it(make, set_back):
    holder, successor = make(ordering=Ordering.FIFO), make(ordering=Ordering.FIFO)
    [job] = new_jobs(1)
    holder.commit([job])
    claim_soon(holder, "first", visibility_timeout=0.05)
    set_back()
    claim_soon(successor, "second", visibility_timeout=0.05)
    set_back()
    assert eventually(lambda: successor.stats().waiting.jobs == 1)
    assert successor.settle("second", [retry(job.id)]) == [True], "nobody has taken it over"
    successor.leave("second")
    assert ids_of(claim(holder).jobs) == [job.id]


def test_an_idle_queues_time_goes_on_though_it_is_only_looked_at(make, set_back):
    backend = make()
    backend.commit(new_jobs(1))
    [job] = claim_soon(backend, "t")
    backend.settle("t", [retry(job.id, delay=MOMENT)])
    set_back()
    assert backend.stats().delayed.jobs == 1
    assert eventually(lambda: backend.stats().waiting.jobs == 1)


def test_the_clock_may_be_set_back_again_and_again_and_forward(make, raw):
    backend = make()
    for seconds in (-HOUR, -HOUR, 3 * HOUR, -HOUR, -1.0):
        job = new_job()
        backend.commit([job])
        move_clock(raw, make.prefix, seconds)
        assert ids_of(claim_soon(backend, "t")) == [job.id]
        backend.ack([job.id])


def test_the_times_that_operators_see_are_the_servers(make, set_back):
    backend = make()
    backend.commit(new_jobs(2))
    [job] = claim_soon(backend, "t")
    backend.settle("t", [retry(job.id, delay=LONG)])
    set_back()
    backend.renew("t", [], visibility_timeout=LONG)
    now = time.time()
    [(_, seen, _)] = backend.processors()
    [delayed] = backend.jobs(JobState.DELAYED, limit=9)
    [waiting] = backend.jobs(JobState.WAITING, limit=9)
    assert seen == pytest.approx(now, abs=SOON)
    assert delayed.next_attempt_at == pytest.approx(now + LONG, abs=SOON)
    assert waiting.next_attempt_at == pytest.approx(now, abs=SOON)
    assert backend.stats().oldest_age < SOON
    assert backend.stats().processors == 1


def test_a_list_whose_cursor_has_gone_goes_on_near_it_after_the_clock_was_set_back(make, raw, set_back):
    backend = make()
    [long_ago] = new_jobs(1)
    backend.commit([long_ago])
    move_clock(raw, make.prefix, 60.0)
    backend.renew("t", [], visibility_timeout=LONG)
    set_back()
    jobs = new_jobs(3)
    backend.commit(jobs)
    backend.ack([jobs[1].id])
    listed = ids_of(backend.jobs(JobState.WAITING, limit=9, after=jobs[1].id))
    assert jobs[2].id in listed
    assert long_ago.id not in listed, "else a list would never come to its end"


def test_a_processor_last_seen_before_the_clock_was_set_back_is_forgotten_in_time(make, raw, set_back):
    backend = make()
    backend.renew("gone", [], visibility_timeout=LONG)
    set_back()
    backend.renew("t", [], visibility_timeout=LONG)
    move_clock(raw, make.prefix, 35.0)
    backend.renew("t", [], visibility_timeout=LONG)
    assert [token for token, *_ in backend.processors()] == ["t"]


def test_looking_at_a_queue_that_is_not_there_makes_none(make, raw):
    backend = make()
    backend.stats()
    backend.jobs(JobState.WAITING, limit=9)
    backend.lookup([new_job().id])
    assert raw.keys(make.prefix + "*") == []
