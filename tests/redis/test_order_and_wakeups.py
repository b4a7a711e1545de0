"""Who is woken when, and what happens when the two modes meet on one queue."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import LONG, SOON, bury, claim_soon, ids_of, new_jobs, release, retry
from eventspool._job import JobState
from redis_servers import drop_queue_lease

PRODUCER = Path(__file__).parent / "programs/producer.py"


def waited(backend, timeout=60.0):
    started = time.monotonic()
    woken = backend.wait(timeout)
    return woken, time.monotonic() - started


def hush(backend, token="t"):
    """Consume what may be left of earlier wake-ups."""
    while backend.wait(0.02):
        pass


def commands_used(raw):
    return sum(stat["calls"] for name, stat in raw.info("commandstats").items() if "blpop" in name)


def test_a_commit_of_another_process_wakes_at_once(make, server, backend):
    queue = make.prefix.split("{")[1].split(":")[0]
    command = [sys.executable, str(PRODUCER), server.url, queue]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as producer,
        ThreadPoolExecutor(1) as pool,
    ):
        producer.stdout.readline()
        waiting = pool.submit(backend.wait, 30.0)
        time.sleep(0.05)
        started = time.monotonic()
        producer.communicate(b"go\n")
        assert waiting.result() is True
        assert time.monotonic() - started < SOON
    assert len(backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs) == 1


def test_an_idle_wait_does_not_poll(backend, raw):
    before = commands_used(raw)
    assert backend.wait(0.6) is False
    assert commands_used(raw) - before == 1


def test_a_short_socket_timeout_does_not_cut_a_wait_short(make):
    backend = make(socket_timeout=2.0)  # and long enough for a busy server
    woken, seconds = waited(backend, 2.6)
    assert woken is False
    assert 2.5 < seconds < SOON


@pytest.mark.parametrize("timeout", [0.0, 0.0001, 0.001])
def test_a_wait_of_no_time_ends(backend, timeout):
    """A server takes zero for ever, and the oldest one rounds down."""
    woken, seconds = waited(backend, timeout)
    assert woken is False
    assert seconds < SOON


def test_an_interrupt_is_prompt_and_the_next_wait_works(backend):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(waited, backend)
        time.sleep(0.1)
        backend.interrupt()
        woken, seconds = waiting.result()
    assert (woken, seconds < SOON) == (False, True)
    backend.commit(new_jobs(1))
    assert backend.wait(30.0) is True


def test_closing_ends_a_wait(backend):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(waited, backend)
        time.sleep(0.1)
        backend.close()
        assert waiting.result()[1] < SOON


def test_a_claim_that_leaves_due_jobs_passes_the_baton(make):
    first, second = make(), make()
    first.commit(new_jobs(3))
    hush(first)
    claim_soon(first, "t", limit=1)
    assert second.wait(30.0) is True
    claim_soon(second, "u", limit=2)
    assert first.wait(0.05) is False, "nothing is left to claim"


def test_a_commit_that_stores_nothing_wakes_nobody(make):
    backend = make()
    jobs = new_jobs(1)
    backend.commit(jobs)
    hush(backend)
    assert backend.commit(jobs).duplicates == 1
    assert backend.wait(0.05) is False


def test_a_job_put_back_wakes_another_processor(make):
    first, second = make(), make()
    first.commit(new_jobs(1))
    [job] = claim_soon(first, "t")
    hush(second)
    first.settle("t", [retry(job.id)])
    assert second.wait(30.0) is True


def test_a_standby_does_not_take_the_holders_wakeups(make):
    holder, standby = make(ordering=Ordering.FIFO), make(ordering=Ordering.FIFO)
    holder.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
    assert standby.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG)).wait, (
        "until the holder's lease ends"
    )
    hush(standby)
    hush(holder)
    with ThreadPoolExecutor(2) as pool:
        idle = pool.submit(standby.wait, 1.5)
        time.sleep(0.1)  # it would be served first
        waiting = pool.submit(holder.wait, 30.0)
        time.sleep(0.1)
        holder.commit(new_jobs(1))
        assert waiting.result() is True
        assert idle.result() is False


def test_a_newcomer_gives_back_the_wakeup_it_took(make):
    holder, newcomer = make(ordering=Ordering.FIFO), make(ordering=Ordering.FIFO)
    holder.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
    holder.commit(new_jobs(1))
    assert newcomer.wait(30.0) is True, "it does not know yet that it stands by"
    newcomer.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG))
    assert holder.wait(30.0) is True


def test_a_standby_that_asks_again_wakes_nobody(make):
    """Else the two would keep each other busy."""
    holder, standby = make(ordering=Ordering.FIFO), make(ordering=Ordering.FIFO)
    holder.commit(new_jobs(3))
    claim_soon(holder, "t")
    for expected in (True, False):
        assert standby.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs == ()
        assert holder.wait(0.05) is expected, "only a newcomer may have taken a wake-up"


def test_a_standby_is_woken_when_the_queue_is_given_back(make):
    holder, standby = make(ordering=Ordering.FIFO), make(ordering=Ordering.FIFO)
    holder.commit(new_jobs(1))
    claim_soon(holder, "t")
    standby.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG))
    hush(standby)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(waited, standby)
        time.sleep(0.1)
        holder.leave("t")
        woken, seconds = waiting.result()
    assert (woken, seconds < SOON) == (True, True)
    assert len(standby.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs) == 1


def test_a_standby_that_becomes_the_holder_waits_for_jobs_from_then_on(make, raw):
    holder, standby = make(ordering=Ordering.FIFO), make(ordering=Ordering.FIFO)
    holder.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
    standby.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG))
    hush(standby)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(waited, standby, 2 * SOON)
        time.sleep(0.1)
        drop_queue_lease(raw, make.prefix)
        assert standby.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG)).wait is None, (
            "it holds an empty queue"
        )
        assert waiting.result()[1] < SOON, "it must not go on waiting as a stand-by"


def test_in_order_a_job_in_flight_holds_up_those_before_it_too(make):
    backend = make(ordering=Ordering.FIFO)
    jobs = new_jobs(3)
    backend.commit(jobs)
    claim_soon(backend, "t", limit=2)
    backend.settle("t", [release(jobs[0].id)])
    for probe in (False, True):
        assert backend.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG, probe=probe)).jobs == ()
    backend.settle("t", [release(jobs[1].id)])
    assert ids_of(backend.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs) == ids_of(jobs)


def test_a_holder_that_loses_the_queue_can_neither_settle_nor_renew(make, raw):
    """Also on those of its jobs that its successor has not reached."""
    holder, successor = make(ordering=Ordering.FIFO), make(ordering=Ordering.FIFO)
    jobs = new_jobs(3)
    holder.commit(jobs)
    claim_soon(holder, "t", limit=3)
    drop_queue_lease(raw, make.prefix)  # as if its lease had run out
    [taken] = successor.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs
    assert (taken.id, taken.attempts, taken.stalled) == (jobs[0].id, 1, True)
    assert holder.settle("t", [retry(job.id) for job in jobs]) == [False] * 3
    assert holder.renew("t", ids_of(jobs), visibility_timeout=LONG) == set(ids_of(jobs))
    assert holder.ack([jobs[2].id]) == 1


def test_a_holder_whose_lease_ran_out_untaken_keeps_the_queue(make, raw):
    holder, standby = make(ordering=Ordering.FIFO), make(ordering=Ordering.FIFO)
    holder.commit(new_jobs(1))
    [job] = claim_soon(holder, "t")
    drop_queue_lease(raw, make.prefix)
    assert holder.renew("t", [job.id], visibility_timeout=LONG) == set()
    assert standby.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs == ()


def test_strict_order_over_retries_releases_and_takeovers(make, raw):
    """Delivered in exactly the order committed, whatever happens on the way."""
    handles = {token: make(ordering=Ordering.FIFO) for token in "abc"}
    jobs = new_jobs(40)
    handles["a"].commit(jobs)
    delivered, turn = [], 0
    while len(delivered) < len(jobs):
        token = "abc"[turn % 3]
        handle, turn = handles[token], turn + 1
        claimed = ids_of(handle.claim(token, ClaimTerms(limit=1 + turn % 4, visibility_timeout=LONG)).jobs)
        assert claimed == ids_of(jobs[len(delivered) : len(delivered) + len(claimed)])
        done = claimed[: turn % 3]
        handle.ack(done)
        delivered += done
        rest = claimed[len(done) :]
        if turn % 5 == 0:
            drop_queue_lease(raw, make.prefix)  # it dies
        else:
            handle.settle(token, [(retry if turn % 2 else release)(i) for i in rest])
            handle.leave(token)
    assert delivered == ids_of(jobs)


@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO], ids=["shared", "fifo"])
def test_replayed_jobs_come_in_the_order_given_behind_all_others(make, ordering):
    backend = make(ordering=ordering)
    buried = bury(backend, 3)[::-1]
    jobs = new_jobs(3)
    backend.commit(jobs)
    assert backend.replay(buried) == 3
    assert ids_of(claim_soon(backend, "t", limit=9)) == [*ids_of(jobs), *buried]


@pytest.mark.parametrize(
    ("before", "after"),
    [(Ordering.FIFO, Ordering.NONE), (Ordering.NONE, Ordering.FIFO)],
    ids=["shared-joins-fifo", "fifo-joins-shared"],
)
def test_a_change_of_mode_loses_nothing(make, before, after):
    """A deployment that changes is_multi_processor meets jobs of the other mode."""
    old, new = make(ordering=before), make(ordering=after)
    jobs = new_jobs(4)
    old.commit(jobs)
    leased = ids_of(claim_soon(old, "old", limit=2))
    old.settle("old", [retry(leased[0], delay=0.3)])
    claimed = {}
    deadline = time.monotonic() + SOON
    while len(claimed) < 4 and time.monotonic() < deadline:
        for job in new.claim("new", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs:
            claimed[job.id] = job.attempts
        new.ack(list(claimed))
        if len(claimed) == 3 and leased[1] not in claimed:
            old.leave("old")
    assert claimed.keys() == set(ids_of(jobs))
    assert claimed[leased[0]] == 1
    assert new.stats().waiting.jobs == new.stats().leased.jobs == new.stats().delayed.jobs == 0


def test_a_claim_that_meets_only_jobs_of_the_other_mode_is_repeated_at_once(make):
    """They lie before what is due, and are moved out of the way."""
    fifo, shared = make(ordering=Ordering.FIFO), make()
    jobs = new_jobs(3)
    fifo.commit(jobs)
    claim_soon(fifo, "t", limit=2)
    claim = shared.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG))
    assert (claim.jobs, claim.wait) == ((), 0.0)
    assert ids_of(shared.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs) == [jobs[2].id]


def test_delayed_events_are_estimated_from_a_single_job_where_the_other_mode_hides_the_rest(make):
    """Only the first thousand are looked at."""
    shared, fifo = make(), make(ordering=Ordering.FIFO)
    hidden, plain = new_jobs(999), new_jobs(3)
    shared.commit([*hidden, *plain])
    shared.claim("t", ClaimTerms(limit=1000, visibility_timeout=LONG))
    claim_soon(shared, "t", limit=2)
    fifo.settle("t", [retry(job.id, delay=LONG) for job in hidden])
    shared.settle("t", [retry(job.id, delay=2 * LONG) for job in plain])
    delayed = shared.stats().delayed
    assert delayed.events == delayed.jobs >= len(plain)


@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
def test_an_observer_sees_the_queue_as_its_producers_have_it(make, ordering):
    """Where a job waits for its retry is kept differently in the two modes; `open_queue` is not told which."""
    producer = make(ordering=ordering)
    producer.commit(new_jobs(2))
    [job] = producer.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs
    producer.settle("t", [retry(job.id, delay=LONG)])
    observer = make(ordering=None)

    stats = observer.stats()

    assert (stats.waiting.jobs, stats.delayed.jobs, stats.leased.jobs) == (1, 1, 0)
    assert [found.id for found in observer.jobs(JobState.DELAYED, limit=9)] == [job.id]


def test_an_observer_that_was_there_before_the_producers_keeps_their_order(make):
    """Such as a dashboard: a job that it hurries would move to the end."""
    observer = make(ordering=None)
    producer = make(ordering=Ordering.FIFO)
    jobs = new_jobs(3)
    producer.commit(jobs)
    [head] = producer.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs
    producer.settle("t", [retry(head.id, delay=LONG)])

    assert (observer.stats().waiting.jobs, observer.stats().delayed.jobs) == (2, 1)
    assert [found.id for found in observer.jobs(JobState.DELAYED, limit=9)] == [head.id]
    assert observer.expedite([head.id]) == 1
    assert ids_of(producer.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs) == ids_of(jobs)


def test_an_observer_follows_producers_that_change_the_mode(make):
    observer = make(ordering=None)
    for ordering in Ordering:
        producer = make(ordering=ordering)
        producer.commit(new_jobs(1))
        [job] = producer.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs
        producer.settle("t", [retry(job.id, delay=LONG)])
        assert (observer.stats().waiting.jobs, observer.stats().delayed.jobs) == (0, 1)
        producer.ack([job.id])
        producer.leave("t")
