"""Leases: kept while a request lasts, lost without harm, given back at the end."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from eventspool._backends.memory import MemoryBackend
from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._delivery import dispatcher as _dispatcher
from eventspool._delivery.attempt import Outcome
from eventspool._delivery.sharing import Report
from eventspool._job import JobState, Settlement, SettlementKind
from eventspool._settling.settler import JobEnd

from .conftest import DOWN, OK, make_job, names_of, until


class Held:
    """An answer that waits until it is released."""

    def __init__(self, answer=OK):
        self.began = threading.Event()
        self.release = threading.Event()
        self._answer = answer

    def __call__(self, names):
        self.began.set()
        self.release.wait(10.0)
        return self._answer


@pytest.fixture
def held():
    held = Held()
    yield held
    held.release.set()


@pytest.mark.parametrize("ordering", [Ordering.FIFO, Ordering.NONE])
def test_a_request_that_outlasts_the_visibility_timeout_keeps_its_lease(rig, held, ordering):
    rig = rig(held, ordering=ordering, visibility_timeout=0.2).start()
    rig.commit(make_job("slow"))
    assert held.began.wait(5.0)
    deadline = time.monotonic() + 0.7
    while time.monotonic() < deadline:
        assert rig.backend.claim("other", ClaimTerms(limit=1, visibility_timeout=60.0)).jobs == ()
        time.sleep(0.01)
    held.release.set()
    rig.empty()
    assert rig.plane.sent == [["slow"]]


def test_a_job_whose_lease_was_lost_is_acknowledged_when_it_was_delivered(rig, held):
    """Delivered is delivered, whoever holds it by now."""
    rig = rig(held).start()
    [job] = rig.commit(make_job("slow"))
    assert held.began.wait(5.0)
    rig.clock.ahead = 1_000.0
    [stolen] = rig.backend.claim("other", ClaimTerms(limit=1, visibility_timeout=60.0)).jobs
    assert (stolen.id, stolen.stalled, stolen.attempts) == (job.id, True, 1)
    held.release.set()
    rig.empty()
    assert rig.settled == [JobEnd(job.id, is_recorded=False)]


def test_a_job_whose_lease_was_lost_is_its_new_holders_when_the_request_failed(rig):
    held = Held(DOWN)
    rig = rig(held).start()
    [job] = rig.commit(make_job("slow"))
    assert held.began.wait(5.0)
    rig.clock.ahead = 1_000.0
    rig.backend.claim("other", ClaimTerms(limit=1, visibility_timeout=60.0))
    held.release.set()
    until(lambda: rig.processor.in_flight == 0)
    rig.processor.stop(5.0)
    [leased] = rig.backend.jobs(JobState.LEASED, limit=10)
    assert (leased.id, leased.attempts) == (job.id, 1), "the attempt is the stolen lease's, and only that"
    assert rig.settled == []


def test_a_job_that_gives_up_after_its_lease_was_lost_is_not_reported_as_failed(rig):
    held = Held(DOWN)
    rig = rig(held, max_attempts=1).start()
    rig.commit(make_job("slow"))
    assert held.began.wait(5.0)
    rig.clock.ahead = 1_000.0
    rig.backend.claim("other", ClaimTerms(limit=1, visibility_timeout=60.0))
    held.release.set()
    until(lambda: rig.processor.in_flight == 0)
    rig.processor.stop(5.0)
    assert rig.settled == []
    assert rig.failed == []


def test_our_own_job_that_comes_back_to_us_is_not_sent_a_second_time(rig, held):
    """The lease ran out while we were too busy to renew, and our own claim got it back."""
    rig = rig(held).start()
    rig.commit(make_job("slow"))
    assert held.began.wait(5.0)
    rig.clock.ahead = 1_000.0
    rig.processor.wake()
    until(lambda: set(rig.attempts.values()) == {1})
    held.release.set()
    rig.empty()
    assert rig.plane.sent == [["slow"]]


def test_a_clock_that_jumps_forward_ends_waits_and_leases_and_nothing_else(rig, held):
    """A day, while one batch is being sent and another waits for its retry: nothing is lost, given up or sent twice."""
    rig = rig(held, max_attempts=3, concurrency=1)
    sent, waiting = rig.commit(make_job("sent"), make_job("waiting"))
    rig.backend.claim("w", ClaimTerms(limit=2, visibility_timeout=60.0))
    rig.backend.settle(
        "w",
        [
            Settlement(sent.id, SettlementKind.RELEASE),
            Settlement(waiting.id, SettlementKind.RETRY, delay=3_600.0),
        ],
    )
    rig.start()
    assert held.began.wait(5.0)
    rig.clock.ahead = 86_400.0
    rig.processor.wake()
    held.release.set()
    rig.empty()
    assert (rig.plane.count("sent"), rig.plane.count("waiting")) == (1, 1)
    assert rig.failed == []
    assert rig.backend.stats().oldest_age == 0.0


def _stall(rig, times):
    for _ in range(times):
        assert rig.backend.claim("dead", ClaimTerms(limit=10, visibility_timeout=60.0)).jobs
        rig.clock.ahead += 100.0


def test_a_job_that_never_comes_back_is_parked_as_stalled(rig):
    """It may be what kills its processors; after max_attempts nobody is risked for it any more."""
    rig = rig(max_attempts=3)
    [job] = rig.commit(make_job("killer", "victim"))
    _stall(rig, 3)
    rig.start().empty()
    assert rig.plane.sent == []
    [failed] = rig.failed
    assert (failed.reason, failed.events) == ("stalled", 2)
    assert rig.backend.payload(job.id) == job.payload
    [end] = rig.await_settled(1)
    assert (end.job_id, end.failure.reason, end.failure.indices) == (job.id, "stalled", None)


def test_a_job_that_stalled_less_often_is_sent(rig):
    rig = rig(max_attempts=3)
    rig.commit(make_job("unlucky"))
    _stall(rig, 2)
    rig.start().empty()
    assert rig.plane.sent == [["unlucky"]]


def test_stop_returns_within_its_timeout_while_a_request_hangs(rig, held):
    rig = rig(held).start()
    rig.commit(make_job("slow"))
    assert held.began.wait(5.0)
    began = time.monotonic()
    rig.processor.stop(0.1)
    assert 0.09 < time.monotonic() - began < 1.0
    rig.processor.stop(5.0, at_once=True)
    [again] = rig.backend.claim("other", ClaimTerms(limit=10, visibility_timeout=60.0)).jobs
    assert (again.attempts, again.stalled) == (0, False)


def test_what_a_hanging_request_delivered_after_stop_is_still_acknowledged(rig, held):
    rig = rig(held).start()
    rig.commit(make_job("slow"))
    assert held.began.wait(5.0)
    rig.processor.stop(0.0)
    held.release.set()
    rig.empty()


def test_stop_gives_back_what_was_not_begun_without_an_attempt(rig, held):
    rig = rig(held, concurrency=1).start()
    rig.commit(*[make_job(f"j{i}") for i in range(4)])
    assert held.began.wait(5.0)
    rig.processor.stop(0.0)
    held.release.set()
    rig.processor.stop(5.0)
    assert list(rig.attempts.values()) == [0] * (4 - len(rig.plane.accepted))
    assert rig.backend.stats().leased.jobs == 0


@pytest.fixture
def stepped(rig, monkeypatch):
    """A rig without threads, whose acknowledgements wait long."""
    monkeypatch.setattr(_dispatcher, "_ACK_PAUSE", 60.0)
    rig = rig()
    monkeypatch.setattr(rig.processor, "_add_sender", lambda: None)
    return rig


def _deliver(processor, count):
    """Play the senders: say of the next *count* jobs that they were delivered."""
    for _ in range(count):
        [job] = processor.exchange.parcels.get_nowait().jobs
        processor.exchange.report(Report((Outcome(job.id, delivered=True, answered=True),)))


def test_acknowledgements_wait_for_those_of_requests_under_way_and_go_together(stepped, monkeypatch):
    rig = stepped
    jobs = rig.commit(*[make_job(f"j{i}") for i in range(4)])
    acknowledged = []
    monkeypatch.setattr(rig.backend, "ack", acknowledged.append)
    rig.processor.turn(time.monotonic())
    for delivered in (1, 2):
        _deliver(rig.processor, delivered)
        rig.processor.turn(time.monotonic())
        assert acknowledged == []
    _deliver(rig.processor, 1)
    rig.processor.turn(time.monotonic())
    assert acknowledged == [[job.id for job in jobs]]


def test_a_claim_comes_after_every_acknowledgement(stepped, monkeypatch):
    """Else it could fetch a job again that was delivered under a lease that has just run out."""
    rig = stepped
    [done, _] = rig.commit(make_job("done"), make_job("under way"))
    rig.processor.turn(time.monotonic())
    _deliver(rig.processor, 1)
    rig.commit(make_job("new"))
    acknowledged, claim = [], rig.backend.claim

    def after_them(*args, **options):
        assert acknowledged == [[done.id]]
        return claim(*args, **options)

    monkeypatch.setattr(rig.backend, "ack", acknowledged.append)
    monkeypatch.setattr(rig.backend, "claim", after_them)
    rig.processor.turn(time.monotonic())
    assert rig.processor.in_flight == 2


def test_a_slow_request_holds_up_no_other_acknowledgement(rig, held):
    rig = rig([held, OK], concurrency=2).start()
    rig.commit(make_job("a"), make_job("b"))
    assert held.began.wait(5.0)
    until(lambda: (rig.unfinished, rig.processor.in_flight) == (1, 1))


def _count_turns(processor):
    turns, turn = [], processor.turn

    def counted(now):
        turns.append(None)
        return turn(now)

    processor.turn = counted
    return turns


def test_waiting_for_a_request_during_stop_takes_no_turns(rig, held):
    rig = rig(held)
    turns = _count_turns(rig.processor)
    rig.start()
    rig.commit(make_job("slow"))
    assert held.began.wait(5.0)
    rig.processor.stop(0.3)
    assert len(turns) < 50


def test_a_probe_that_is_due_while_an_old_request_hangs_takes_no_turns(rig, held):
    """The breaker is open and its pause is over, but what is under way must end first."""
    rig = rig([held, *[DOWN] * 50], concurrency=2, max_attempts=1_000)
    turns = _count_turns(rig.processor)
    rig.commit(*[make_job(f"j{i}") for i in range(8)])
    rig.start()
    assert held.began.wait(5.0)
    until(lambda: rig.processor.is_paused)
    until(lambda: rig.processor.in_flight == 1)
    before = len(turns)
    time.sleep(0.3)
    assert len(turns) - before < 50
    rig.plane.answer = OK
    held.release.set()
    rig.empty()


@pytest.mark.parametrize("pause", ["_LISTEN_PAUSE", "_OWN_PACE"])
def test_between_two_jobs_nobody_listens_for_a_third(rig, monkeypatch, pause):
    """Where jobs come one after the other, a listener would only take time from those who produce them."""
    monkeypatch.setattr(_dispatcher, pause, 60.0)
    backend = MemoryBackend()
    monkeypatch.setattr(backend, "shared", True, raising=False)
    rig = rig(backend=backend).start()
    for i in range(3):
        rig.commit(make_job(f"j{i}"))
        rig.empty()
        assert not rig.processor.exchange.listening.is_set()


def test_where_others_produce_a_job_is_listened_for_at_once(rig, monkeypatch):
    monkeypatch.setattr(_dispatcher, "_OWN_PACE", 60.0)
    backend = MemoryBackend()
    monkeypatch.setattr(backend, "shared", True, raising=False)
    rig = rig(backend=backend)
    rig.backend.commit([make_job("foreign")])
    rig.start()
    until(rig.processor.exchange.listening.is_set, timeout=1.0)
    assert rig.plane.sent == [["foreign"]]


@pytest.mark.parametrize("ordering", [Ordering.FIFO, Ordering.NONE])
def test_an_idle_processor_takes_no_turns_and_wakes_for_a_foreign_producer(rig, ordering):
    """A queue that other processes fill has a listener; it must neither sleep through a job nor spin."""

    class Shared(MemoryBackend):
        shared = True

    rig = rig(ordering=ordering, backend=Shared(ordering=ordering))
    turns = _count_turns(rig.processor)
    rig.start()
    for i in range(3):
        rig.backend.commit([make_job(f"j{i}")])  # nobody says so to the processor
        until(lambda i=i: len(rig.plane.accepted) == i + 1, timeout=2.0)
    until(lambda: rig.unfinished == 0)
    before = len(turns)
    time.sleep(0.3)
    assert len(turns) - before < 20


def test_a_half_delivered_batch_that_stalled_keeps_only_the_rest(rig):
    rig = rig(max_attempts=2)
    [job] = rig.commit(replace(make_job("a", "b", "c", "d"), progress="2-4|"))
    _stall(rig, 2)
    rig.start().empty()
    failure = rig.failure(job.id)
    assert (failure.reason, failure.indices) == ("stalled", (2, 3))
    assert names_of(rig.backend.payload(job.id)) == ["c", "d"]
    assert rig.plane.sent == []
