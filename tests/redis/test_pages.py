"""What is read a page at a time is read whole: every page, and no job twice."""

from __future__ import annotations

import pytest

from eventspool import Queue
from eventspool._backends.redis.codec import decode_depths
from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import LONG, fail, ids_of, rewrite
from eventspool._envelope import seal
from eventspool._figures import Depth
from eventspool._job import JobState, NewJob, new_job_id

MANY = 2_100  # two full pages and a bit


@pytest.fixture
def jobs(backend):
    stored = [NewJob(new_job_id(), b"x" * (1 + n % 2), 1 + n % 3) for n in range(MANY)]
    assert backend.commit(stored).accepted == MANY
    return stored


def total(jobs):
    return Depth(len(jobs), sum(job.events for job in jobs), sum(len(job.payload) for job in jobs))


def bury_all(backend, jobs):
    while claimed := backend.claim("t", ClaimTerms(limit=1000, visibility_timeout=LONG)).jobs:
        backend.settle("t", [fail(job.id, reason="ab"[int(job.id, 16) % 2], events=0) for job in claimed])
    return {reason: [job for job in jobs if "ab"[int(job.id, 16) % 2] == reason] for reason in "ab"}


def test_reasons_are_counted_over_all_pages(make, backend, raw, jobs):
    buried = bury_all(backend, jobs)
    by_reason = {reason: total(those) for reason, those in buried.items()}
    assert backend.reasons() == by_reason
    raw.hdel(make.prefix + "m", "r:a", "r:b")
    assert backend.reasons() == by_reason, "counted anew"
    assert backend.stats().failed == total(jobs)


def test_reasons_stay_counted_whatever_becomes_of_the_jobs(backend):
    """Without being counted anew, which would put them right."""
    ids = [new_job_id() for _ in range(8)]
    backend.commit([NewJob(job_id, b"x" * n, n) for n, job_id in enumerate(ids, 1)])
    backend.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG))

    def kept():
        sound, *figures = backend._connection.run("reasons")
        assert sound
        return decode_depths(figures)

    for count, job_id in enumerate(ids, 1):
        backend.settle("t", [fail(job_id, reason="a", events=count)])
        assert kept() == {"a": Depth(count, sum(range(count + 1)), sum(range(count + 1)))}
    backend.ack(ids[:1])
    assert kept() == {"a": Depth(7, 35, 35)}
    backend.purge(JobState.FAILED, ids[1:2])
    assert kept() == {"a": Depth(6, 33, 33)}
    backend.replay(ids[2:4])
    assert kept() == {"a": Depth(4, 26, 26)}
    assert rewrite(backend, ids[7], b"x" * 8, b"y", 2)
    assert kept() == {"a": Depth(4, 20, 19)}
    backend.replay(ids)
    assert kept() == {}


@pytest.mark.parametrize("record", [b"", b"{", b"7", b'{"reason":7}', b"{}"])
def test_a_failure_that_cannot_be_read_has_an_unknown_reason(make, backend, raw, record):
    job = NewJob(new_job_id(), b"xx", 3)
    backend.commit([job])
    bury_all(backend, [job])
    for damage in (("hset", job.id, record), ("hdel", job.id)):
        getattr(raw, damage[0])(make.prefix + "i", *damage[1:])
        raw.hdel(make.prefix + "m", "r:a", "r:b", "r:unknown")
        assert backend.reasons() == {"unknown": Depth(1, 3, 2)}


def test_orphans_are_found_on_every_page(backend, raw, jobs):
    orphans = {new_job_id(): seal([b"{}"] * (1 + n % 3)) for n in range(MANY)}
    raw.hset(backend._payloads, mapping=orphans)
    assert backend.repair() == MANY
    assert backend.repair() == 0
    events = sum(1 + n % 3 for n in range(MANY))
    sizes = sum(map(len, orphans.values()))
    expected = total(jobs)
    assert backend.stats().waiting == Depth(2 * MANY, expected.events + events, expected.bytes + sizes)


@pytest.mark.parametrize("failed", [False, True], ids=["unfinished", "failed"])
def test_all_pages_are_counted_again_after_damage(make, backend, raw, jobs, failed):
    if failed:
        bury_all(backend, jobs)
    raw.hset(
        make.prefix + "m", mapping={"events": "x", "bytes": "x", "failed_events": "x", "failed_bytes": "x"}
    )
    raw.hset(make.prefix + "n", mapping={f"stray-{n}": "1:1" for n in range(200)})
    assert backend.repair() == 0
    stats = backend.stats()
    assert (stats.failed if failed else stats.waiting) == total(jobs)
    assert raw.hlen(make.prefix + "n") == MANY


def test_a_list_goes_on_behind_a_page_of_other_jobs(make, jobs):
    """In strict order, leased jobs stay where they are."""
    backend = make(ordering=Ordering.FIFO)
    assert len(backend.claim("t", ClaimTerms(limit=1000, visibility_timeout=LONG)).jobs) == 1000
    assert ids_of(backend.jobs(JobState.WAITING, limit=1000)) == ids_of(jobs[1000:2000])


def test_a_list_of_all_pages_is_all_jobs(backend, jobs):
    listed, after = [], None
    while page := backend.jobs(JobState.WAITING, limit=1000, after=after):
        listed += ids_of(page)
        after = page[-1].id
    assert listed == ids_of(jobs)


def test_an_erasure_finds_what_no_index_knows_and_what_has_lost_its_size(make, backend, raw, jobs):
    """The next repair would otherwise bring it back."""
    theirs = {new_job_id(): seal([b'{"userId":"ann"}']) for _ in range(3)}
    orphan, damaged, sound = theirs
    raw.hset(backend._payloads, orphan, theirs.pop(orphan))
    backend.commit([NewJob(job_id, payload, 1) for job_id, payload in theirs.items()])
    raw.hdel(make.prefix + "n", damaged)
    assert Queue(backend, owns_backend=False).erase("ann").removed == 3
    assert backend.payloads([orphan, damaged, sound]) == dict.fromkeys([orphan, damaged, sound])
    assert backend.stats().waiting.jobs == MANY
