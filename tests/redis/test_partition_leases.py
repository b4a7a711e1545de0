"""How leases end in a queue over several partitions, also while one of them, or the root, cannot be told."""

from __future__ import annotations

import threading

import pytest

from eventspool._claim import LIMITED, PAUSED, ClaimTerms
from eventspool._config import JobOpts, Ordering
from eventspool._contract.tools import (
    LONG,
    SHORT,
    claim_soon,
    drain,
    eventually,
    fail,
    ids_of,
    new_job,
    new_jobs,
)
from eventspool._delivery.endings import Endings
from eventspool._delivery.parcel import Packer
from eventspool._delivery.processor import Processor
from eventspool._delivery.verdict import DeliveryResult
from eventspool._exceptions import QueueError, QueueUnavailable
from eventspool._fleet import Trouble
from redis_servers import NEWEST, running

ANY = ClaimTerms(limit=9, visibility_timeout=LONG)


class Plane:
    """A data plane that is down for one request."""

    def __init__(self):
        self.statuses = []
        self._lock = threading.Lock()

    def send(self, body, *, gzip):
        with self._lock:
            self.statuses.append(200 if self.statuses else 503)
            return DeliveryResult(self.statuses[-1])

    def close(self): ...


def deliver(backend, plane, told):
    """Return a processor of *backend*, one job to a request."""
    opts = JobOpts(backoff_initial=0.001, backoff_max=0.004)
    return Processor(
        backend,
        plane,
        opts,
        ordering=Ordering.NONE,
        packer=Packer(1 << 20, 1),
        gzip=False,
        on_settled=told.append,
    )


def cut_off(patch, members):
    """Have *members* answer nothing about leases."""

    def be_away(*_, **__):
        raise QueueUnavailable("away")

    for member in members:
        for name in ("ack", "settle", "lookup"):
            patch.setattr(member.backend, name, be_away)


def test_while_the_root_is_away_a_failed_request_does_not_keep_the_other_partitions_from_being_delivered(
    factory,
):
    with running(NEWEST[0]) as first, running(NEWEST[0]) as second:
        backend, observer = factory([first, second]), factory([first, second])
        for _ in range(4):
            backend.commit(new_jobs(2))
        plane, told = Plane(), []
        processor = deliver(backend, plane, told)
        first.kill()
        processor.start()
        try:
            assert eventually(
                lambda: [each.unfinished.jobs for each in observer.partitions() if not each.away] == [0, 0],
                5.0,
            )
        finally:
            processor.stop(2.0)
        assert plane.statuses[:1] == [503]
        assert len(told) == 4


def test_a_queue_that_was_paused_before_it_was_divided_hands_nothing_out(factory):
    factory(observe=True).pause(True)
    backend = factory()
    for _ in range(8):
        assert backend.commit(new_jobs(1)).accepted == 1
    for _ in range(6):
        claim = backend.claim("t", ANY)
        assert (claim.jobs, claim.obstacle) == ((), PAUSED)
    factory(observe=True).pause(False)
    assert len(drain(backend, "t")) == 8


def test_a_processor_that_leaves_first_tells_what_it_delivered_while_a_partition_was_away(
    factory, monkeypatch
):
    backend, other = factory(), factory()
    for _ in range(4):
        backend.commit(new_jobs(1))
    delivered = ids_of(drain(backend, "t"))
    with monkeypatch.context() as patch:
        cut_off(patch, backend._members.takers[1::2])
        assert backend.ack(delivered) == 2
    backend.leave("t")
    assert drain(other, "u") == []
    assert other.stats().delivered_events == 4


def test_a_job_whose_failure_could_not_be_recorded_and_which_another_processor_delivers_has_not_failed(
    factory, monkeypatch
):
    backend, other = factory(), factory()
    backend.commit(new_jobs(1))
    [job] = claim_soon(backend, "t", visibility_timeout=SHORT)
    told = []
    endings = Endings(backend, "t", told.append)
    with monkeypatch.context() as patch:
        [part] = backend._held.group([job.id])[0]
        cut_off(patch, [backend._members.find(part)])
        endings.add(fail(job.id))
        endings.settle()
        endings.tell()
        assert told == []
    [again] = claim_soon(other, "u")
    assert other.ack([again.id]) == 1
    monkeypatch.setattr(endings, "_asks_from", 0.0)
    endings.tell()
    assert told == []
    assert not endings.are_urgent


def test_a_delivery_of_a_request_that_began_before_does_not_end_the_hold_of_all(factory):
    backend, other = factory(), factory()
    backend.commit(new_jobs(2))
    [job] = claim_soon(other, "u")
    assert backend.hold("t", Trouble("503", LONG, LONG, 5), is_probe=False)
    assert other.ack([job.id]) == 1
    assert backend.claim("t", ANY).is_held_back


def test_a_rate_that_is_used_up_is_not_taken_for_the_end_of_the_hold(factory):
    backend = factory()
    backend.commit([new_job(100), new_job(100)])
    terms = ClaimTerms(limit=9, visibility_timeout=LONG, events_per_second=10.0)
    assert len(backend.claim("t", terms).jobs) == 1
    assert backend.claim("t", terms).obstacle == LIMITED
    assert backend.hold("t", Trouble("503", LONG, LONG, 5), is_probe=False)
    claim = backend.claim("t", terms)
    assert (claim.is_held_back, claim.obstacle) == (True, "503")


def test_a_processor_in_strict_order_leaves_the_jobs_of_a_queue_that_was_divided_to_others(factory):
    worker = factory(partitions=1, ordering=Ordering.FIFO)
    factory(partitions=1).commit(jobs := new_jobs(2))
    factory(observe=True).resize(4)
    for _ in range(2):
        with pytest.raises(QueueError, match="ordering='per_user'"):
            worker.claim("t", ANY)
    assert ids_of(drain(factory(), "u")) == ids_of(jobs)
