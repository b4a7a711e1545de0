"""When the data plane is down, overloaded or refuses the write key: who waits, who probes, what it costs."""

from __future__ import annotations

import threading
import time

import pytest

from eventspool._config import Ordering
from eventspool._delivery.breaker import Permission
from eventspool._delivery.verdict import DeliveryResult
from eventspool._guest.log import drain_log

from .conftest import DOWN, OK, make_job, until


def test_retry_after_holds_the_whole_queue(rig):
    rig = rig([DeliveryResult(429, retry_after=0.4), *[OK] * 20], concurrency=1).start()
    rig.commit(*[make_job(f"j{i}") for i in range(10)])
    rig.empty()
    first, *rest = rig.plane.times
    assert min(rest) - first >= 0.4
    assert len(rig.plane.accepted) == 10
    assert set(rig.attempts.values()) <= {0}


def test_retry_after_holds_it_also_when_other_requests_were_still_answered(rig):
    """With several requests under way, one is told to stay away and another succeeds a moment later."""
    both, told = threading.Barrier(2), threading.Event()

    def away(names):
        both.wait(5.0)
        told.set()
        return DeliveryResult(429, retry_after=0.4)

    def late(names):
        both.wait(5.0)
        told.wait(5.0)
        until(lambda: rig.processor.is_paused)
        return OK

    rig = rig([away, late, *[OK] * 20], concurrency=2).start()
    rig.commit(*[make_job(f"j{i}") for i in range(10)])
    rig.empty()
    assert min(rig.plane.times[2:]) - max(rig.plane.times[:2]) >= 0.39


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_write_key_pauses_without_costing_attempts_and_delivery_resumes_when_it_works(
    rig, caplog, status
):
    rig = rig(DeliveryResult(status), max_attempts=2).start()
    rig.commit(*[make_job(f"j{i}") for i in range(5)])
    until(lambda: len(rig.plane.sent) >= 12)
    assert rig.processor.is_paused
    assert list(rig.attempts.values()) == [0] * 5
    assert rig.failed == []
    rig.plane.answer = OK
    rig.empty()
    assert not rig.processor.is_paused
    assert sorted(names[0] for names in rig.plane.accepted) == [f"j{i}" for i in range(5)]
    assert any("PAUSED" in r.message and r.levelname == "ERROR" for r in caplog.records)


def test_an_outage_spreads_its_attempts_over_all_jobs(rig):
    """Fifty probes on ten jobs: no job bears more than one attempt more than another."""
    rig = rig(DOWN, max_attempts=1_000, concurrency=1)
    rig.commit(*[make_job(f"j{i}") for i in range(10)])
    rig.start()
    until(lambda: len(rig.plane.sent) >= 50)
    rig.processor.stop(5.0)
    assert rig.processor.is_paused
    attempts = rig.attempts.values()
    assert sum(attempts) == len(rig.plane.sent)
    assert max(attempts) - min(attempts) <= 1
    assert rig.failed == []


def test_during_an_outage_there_is_one_request_at_a_time(rig):
    lock, most = threading.Lock(), []
    under_way = 0

    def answer(names):
        nonlocal under_way
        with lock:
            under_way += 1
            most.append((rig.processor.is_paused, under_way))
        time.sleep(0.003)
        with lock:
            under_way -= 1
        return DOWN

    rig = rig(answer, max_attempts=1_000, concurrency=4).start()
    rig.commit(*[make_job(f"j{i}") for i in range(20)])
    until(lambda: len(rig.plane.sent) >= 60)
    while_paused = [count for paused, count in most[20:] if paused]
    assert len(while_paused) > 20
    assert set(while_paused) == {1}


def test_probes_are_spaced_by_the_backoff(rig):
    rig = rig(
        DOWN, max_attempts=1_000, concurrency=1, backoff_initial=0.02, backoff_max=0.08, jitter=lambda: 0.0
    )
    rig.commit(*[make_job(f"j{i}") for i in range(30)])
    rig.start()
    until(lambda: len(rig.plane.times) >= 12)
    gaps = [later - sooner for sooner, later in zip(rig.plane.times, rig.plane.times[1:], strict=False)]
    assert min(gaps[-3:]) >= 0.08
    assert len([gap for gap in gaps if gap < 0.02]) <= 5, "those that opened the breaker"


def test_after_an_outage_everything_is_delivered(rig, caplog):
    caplog.set_level("INFO")
    rig = rig(DOWN, max_attempts=1_000).start()
    rig.commit(*[make_job(f"j{i}") for i in range(40)])
    until(lambda: rig.processor.is_paused and len(rig.plane.sent) >= 20)
    rig.plane.answer = OK
    rig.empty()
    assert sorted(names[0] for names in rig.plane.accepted) == sorted(f"j{i}" for i in range(40))
    drain_log(10.0)
    assert "the data plane works again" in caplog.messages


def test_one_poisonous_job_does_not_look_like_an_outage_for_ever(rig):
    """It answers 500 to one batch alone: the others get through, and it ends in the failed queue."""
    rig = rig(lambda names: DOWN if "bad" in names else OK, max_attempts=8, concurrency=1).start()
    rig.commit(make_job("bad"), *[make_job(f"j{i}") for i in range(20)])
    rig.empty()
    assert len(rig.plane.accepted) == 20
    assert [job.reason for job in rig.failed] == ["max_attempts"]
    assert rig.plane.count("bad") == 8


def test_a_corrupt_job_met_by_a_probe_does_not_end_the_probing(rig):
    rig = rig(DOWN, max_attempts=1_000, concurrency=1).start()
    rig.commit(*[make_job(f"j{i}") for i in range(5)])
    until(lambda: rig.processor.is_paused)
    job = make_job("x")
    rig.commit(type(job)(job.id, b"junk", 1))
    until(lambda: rig.failed)
    rig.plane.answer = OK
    rig.empty()
    assert [job.reason for job in rig.failed] == ["corrupt"]


def test_in_order_means_in_order_also_when_every_head_fails_twice(rig):
    seen = {}

    def answer(names):
        seen[names[0]] = seen.get(names[0], 0) + 1
        return OK if seen[names[0]] == 3 else DOWN

    rig = rig(answer, ordering=Ordering.FIFO).start()
    names = [f"j{i}" for i in range(15)]
    rig.commit(*[make_job(name) for name in names])
    rig.empty()
    assert [accepted[0] for accepted in rig.plane.accepted] == names
    assert rig.plane.sent == [[name] for name in names for _ in range(3)]


def test_in_order_one_batch_may_pass_others_at_the_end_of_an_outage(rig):
    """The probe that found the data plane alive again; all the others keep their order."""
    rig = rig(DOWN, ordering=Ordering.FIFO, max_attempts=1_000).start()
    names = [f"j{i}" for i in range(6)]
    rig.commit(*[make_job(name) for name in names])
    until(lambda: {sent[0] for sent in rig.plane.sent} == set(names))
    rig.plane.answer = OK
    rig.empty()
    arrived = [accepted[0] for accepted in rig.plane.accepted]
    assert sorted(arrived) == names
    assert arrived[1:] == [name for name in names if name != arrived[0]]


def test_in_order_a_poisonous_head_goes_to_the_failed_queue_and_the_rest_follows(rig):
    rig = rig(lambda names: DeliveryResult(400) if "bad" in names else OK, ordering=Ordering.FIFO).start()
    rig.commit(make_job("a", "bad", "b"), make_job("c"), make_job("d"))
    rig.empty()
    assert [name for names in rig.plane.accepted for name in names] == ["a", "b", "c", "d"]


def test_in_order_a_refused_write_key_changes_no_order(rig):
    rig = rig(DeliveryResult(401), ordering=Ordering.FIFO).start()
    names = [f"j{i}" for i in range(6)]
    rig.commit(*[make_job(name) for name in names])
    until(lambda: len(rig.plane.sent) >= 8)
    rig.plane.answer = OK
    rig.empty()
    assert [accepted[0] for accepted in rig.plane.accepted] == names


def test_a_probe_that_was_begun_and_cut_off_is_waited_for_by_nobody(rig):
    """A ``MemoryError`` between the claim and the sender: the breaker would hold everything back for ever."""
    processor = rig().processor
    processor._breaker.record_failure(time.monotonic(), 0.5, probe=False, attempts=0, unauthorized=True)
    processor._breaker.begin_probe()
    processor.recover(MemoryError())
    assert processor._breaker.permission(time.monotonic() + 1e6) is Permission.PROBE
