"""The queue itself goes away at the worst moments: nothing delivered is sent again, and no attempt is spent."""

from __future__ import annotations

import threading
import time

import pytest

from eventspool import QueueError, QueueUnavailable
from eventspool._backends.memory import MemoryBackend
from eventspool._config import Ordering
from eventspool._delivery.attempt import Outcome
from eventspool._delivery.sharing import Report
from eventspool._delivery.verdict import DeliveryResult

from .conftest import DOWN, OK, Clock, make_job, until

GUARDED = ("claim", "ack", "settle", "renew", "repair", "leave")


class Flaky(MemoryBackend):
    """
    A memory queue that is unavailable for the methods in ``down``.

    With ``late`` it does what it was asked to before it says that it is not there: an answer that was lost.
    """

    def __init__(self, **options):
        self.down = set()
        self.late = False
        self.error = QueueUnavailable("the queue is on holiday")
        self.refused = []
        super().__init__(**options)

    def __getattribute__(self, name):
        method = super().__getattribute__(name)
        return self._guard(name, method) if name in GUARDED else method

    def _guard(self, name, method):
        def call(*args, **kwargs):
            if name not in self.down:
                return method(*args, **kwargs)
            if self.late:
                method(*args, **kwargs)
            self.refused.append(name)
            raise self.error

        return call


@pytest.fixture
def flaky(rig):
    def make(*args, ordering=Ordering.NONE, **opts):
        clock = Clock()
        made = rig(*args, ordering=ordering, backend=Flaky(ordering=ordering, clock=clock), **opts)
        made.clock = clock
        return made

    return make


def _refused(rig, name, times=1):
    until(lambda: rig.backend.refused.count(name) >= times)


@pytest.mark.parametrize("ordering", [Ordering.FIFO, Ordering.NONE])
@pytest.mark.parametrize("late", [True, False])
def test_what_was_delivered_is_not_sent_again_while_the_ack_fails(flaky, ordering, late):
    rig = flaky(ordering=ordering)
    rig.backend.down, rig.backend.late = {"ack"}, late
    rig.start()
    rig.commit(*[make_job(f"j{i}") for i in range(5)])
    _refused(rig, "ack", 3)
    rig.backend.down = set()
    rig.empty()
    assert sorted(rig.plane.sent) == [[f"j{i}"] for i in range(5)]
    assert len(rig.settled) == 5


def test_nor_when_its_lease_runs_out_meanwhile(flaky):
    rig = flaky()
    rig.backend.down = {"ack"}
    rig.start()
    rig.commit(make_job("a"))
    _refused(rig, "ack")
    rig.clock.ahead = 1_000.0
    rig.backend.down = set()
    rig.empty()
    assert rig.plane.sent == [["a"]]


def test_a_whole_outage_during_a_request_costs_neither_an_attempt_nor_a_duplicate(flaky):
    release, began = threading.Event(), threading.Event()

    def answer(names):
        began.set()
        release.wait(10.0)
        return OK

    rig = flaky(answer, visibility_timeout=0.3).start()
    rig.commit(make_job("a"), make_job("b"))
    assert began.wait(5.0)
    rig.backend.down = set(GUARDED)
    _refused(rig, "renew", 2)
    release.set()
    _refused(rig, "ack")
    assert set(rig.attempts.values()) == {0}
    rig.backend.down = set()
    rig.empty()
    assert sorted(rig.plane.sent) == [["a"], ["b"]]
    assert rig.failed == []


@pytest.mark.parametrize("late", [True, False])
def test_a_failed_attempt_is_counted_once_however_often_settling_fails(flaky, late):
    rig = flaky([DOWN, OK], concurrency=1)
    rig.backend.down, rig.backend.late = {"settle"}, late
    rig.start()
    rig.commit(make_job("a"))
    _refused(rig, "settle", 3)
    assert rig.plane.sent == [["a"]], "nothing is sent before the last end of a lease is recorded"
    assert set(rig.attempts.values()) == {1 if late else 0}
    rig.backend.down = set()
    rig.empty()
    assert rig.plane.sent == [["a"]] * 2


def test_a_job_that_is_given_up_is_told_of_when_the_queue_has_recorded_it(flaky):
    rig = flaky(DeliveryResult(404))
    rig.backend.down = {"settle"}
    rig.start()
    [job] = rig.commit(make_job("a"))
    _refused(rig, "settle", 2)
    assert rig.settled == []
    rig.backend.down = set()
    rig.empty()
    [end] = rig.await_settled(1)
    assert (end.job_id, end.failure.reason) == (job.id, "rejected")


def test_a_queue_that_is_away_from_the_start_is_waited_for(flaky, caplog):
    rig = flaky()
    rig.backend.down = {"claim", "renew"}
    rig.start()
    rig.commit(*[make_job(f"j{i}") for i in range(3)])
    until(lambda: len(rig.backend.refused) >= 3)
    rig.backend.down = set()
    rig.empty()
    assert len(rig.plane.sent) == 3
    warnings = [record for record in caplog.records if "not available" in record.message]
    assert len(warnings) == 1, "said once, not at every try"


def test_an_outage_is_waited_out_not_hammered(flaky):
    rig = flaky()
    rig.backend.down = {"claim", "renew", "ack"}
    rig.start()
    rig.commit(make_job("a"))
    _refused(rig, "renew")
    for _ in range(100):
        rig.processor.wake()
        time.sleep(0.003)
    assert len(rig.backend.refused) < 20


@pytest.mark.parametrize("ordering", [Ordering.FIFO, Ordering.NONE])
def test_what_an_unheard_claim_has_leased_is_sent_at_once_and_costs_no_attempt(flaky, ordering):
    """The answer was lost, or the payloads could not be read: nobody else would get the jobs for a visibility timeout."""
    rig = flaky(DOWN, ordering=ordering, backoff_initial=60.0, backoff_max=60.0)
    rig.backend.down, rig.backend.late = {"claim"}, True
    [job] = rig.commit(make_job("a"))
    rig.start()
    _refused(rig, "claim", 2)
    assert rig.plane.sent == []
    rig.backend.down = set()
    until(lambda: rig.plane.sent)
    until(lambda: rig.attempts == {job.id: 1})  # recorded after its request has ended
    assert not rig.processor.in_flight


def test_what_an_unheard_claim_has_leased_is_given_back_once_nothing_is_under_way(flaky):
    """Before that, the lease of what is under way would go, too."""
    began, release = threading.Event(), threading.Event()

    def slow(names):
        began.set()
        release.wait(10.0)
        return OK

    rig = flaky([slow, OK]).start()
    [first] = rig.commit(make_job("a"))
    assert began.wait(5.0)
    rig.backend.down, rig.backend.late = {"claim"}, True
    rig.commit(make_job("b"))
    _refused(rig, "claim")
    rig.backend.down = set()
    time.sleep(0.5)  # longer than the outage is waited out
    assert rig.backend.renew(rig.processor.token, [first.id], visibility_timeout=60.0) == set()
    release.set()
    rig.empty()
    assert rig.plane.sent == [["a"], ["b"]]


def test_after_an_error_that_may_be_a_jobs_own_its_attempt_counts(flaky):
    """Given back, a job that no claim can return would be claimed for ever."""
    rig = flaky()
    rig.backend.error = QueueError("cannot be decoded")
    rig.backend.down, rig.backend.late = {"claim"}, True
    rig.commit(make_job("a"))
    rig.start()
    _refused(rig, "claim", 3)
    assert rig.backend.stats().leased.jobs == 1


@pytest.mark.parametrize("ordering", [Ordering.FIFO, Ordering.NONE])
def test_stop_ends_within_its_timeout_while_the_queue_is_away(flaky, ordering):
    rig = flaky(ordering=ordering)
    rig.backend.down = {"ack", "settle", "leave"}
    rig.start()
    rig.commit(make_job("a"))
    _refused(rig, "ack")
    began = time.monotonic()
    rig.processor.stop(2.0)
    assert time.monotonic() - began < 2.0, "it did not use the time up"
    assert rig.processor.has_ended


def test_what_stop_could_not_record_is_delivered_again_by_the_next_one(flaky):
    """At least once: an acknowledgement that dies with its process means a duplicate, never a loss."""
    rig = flaky()
    rig.backend.down = {"ack", "leave"}
    rig.start()
    rig.commit(make_job("a"))
    _refused(rig, "ack")
    rig.processor.stop(5.0)
    rig.backend.down = set()
    rig.clock.ahead = 1_000.0
    rig.renew().empty()
    assert rig.plane.sent == [["a"]] * 2


@pytest.mark.parametrize("method", ["claim", "ack", "renew"])
def test_a_bug_in_the_queue_does_not_end_the_processor(flaky, caplog, method):
    rig = flaky()
    rig.backend.down, rig.backend.error = {method}, ZeroDivisionError("secret")
    rig.start()
    rig.commit(make_job("a"))
    until(lambda: "ZeroDivisionError" in caplog.text)
    rig.backend.down = set()
    rig.empty()
    assert rig.plane.sent == [["a"]]
    assert "secret" not in caplog.text


def test_the_answer_to_a_job_that_was_sent_twice_holds_up_no_other(rig):
    """A sender that was cut off behind its answer sends again; who is asked for patience then is asked of nobody else."""
    rig = rig().start()
    rig.commit(make_job("a"))
    rig.empty()
    rig.processor.exchange.report(Report((Outcome(rig.ids[0], retry_after=60.0, error="429"),)))
    rig.commit(make_job("b"))
    rig.empty()
    assert rig.plane.accepted == [["a"], ["b"]]


def test_what_an_instrumentation_raises_sends_nothing_again(rig):
    def stop(*_):
        raise SystemExit

    rig = rig()
    rig.processor.on_attempt = stop
    rig.start()
    rig.commit(make_job("a"))
    rig.empty()
    assert rig.plane.sent == [["a"]]
