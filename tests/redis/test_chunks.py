"""How much goes to Redis at once, and in which units."""

from __future__ import annotations

from eventspool._backends.redis import codec, operated
from eventspool._backends.redis.codec import (
    MAX_COMMIT_BYTES,
    MAX_IDS,
    cut,
    cut_commit,
    micros,
    queue_lease_ms,
)
from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import LONG, fail, new_jobs, release
from eventspool._envelope import OVERSIZED
from eventspool._job import JobState, NewJob


def _jobs(*sizes):
    return [NewJob(str(number), bytes(size), 1) for number, size in enumerate(sizes)]


def _sizes(jobs, longest=float("inf")):
    return [[len(job.payload) for job in chunk] for chunk in cut_commit(jobs, longest)]


def test_a_transaction_holds_as_many_bytes_as_allowed_and_not_one_more():
    half = MAX_COMMIT_BYTES // 2
    assert _sizes(_jobs(half, half, 1)) == [[half, half], [1]]
    assert _sizes(_jobs(half, half + 1, 1)) == [[half], [half + 1, 1]]
    assert _sizes(_jobs(*[half] * 4)) == [[half, half]] * 2, "each of them"


def test_a_payload_beyond_the_bound_goes_alone():
    large = MAX_COMMIT_BYTES + 1
    assert _sizes(_jobs(1, large, 1)) == [[1], [large], [1]]
    assert _sizes(_jobs(large)) == [[large]]


def test_a_transaction_is_no_longer_than_the_server_takes():
    assert _sizes(_jobs(4, 6, 1), longest=10) == [[4, 6], [1]]
    assert _sizes(_jobs(4, 11, 1), longest=10) == [[4], [11], [1]], "and what it never takes goes alone"


def test_a_transaction_holds_a_thousand_jobs():
    assert [len(chunk) for chunk in _sizes(_jobs(*[0] * (2 * MAX_IDS + 1)))] == [MAX_IDS, MAX_IDS, 1]
    assert _sizes([]) == []


def test_every_item_is_in_one_chunk_in_order():
    assert [*cut("abcde", 2)] == ["ab", "cd", "e"]
    assert [*cut("abcd", 2)] == ["ab", "cd"]
    assert [len(chunk) for chunk in cut(range(MAX_IDS + 1))] == [MAX_IDS, 1]
    assert [*cut([])] == []


def test_times_are_whole_microseconds_and_never_negative():
    assert [micros(seconds) for seconds in (0.0, 1.5, 0.0000026, -1.0)] == [0, 1_500_000, 3, 0]


def test_a_dead_processor_keeps_a_strict_queue_for_ten_seconds_at_most():
    assert [queue_lease_ms(seconds) for seconds in (60.0, 10.0, 2.5, 0.0)] == [10_000, 10_000, 2_500, 1]


def test_what_this_process_has_just_committed_is_not_read_back(make, raw):
    """But by others, and the second time."""
    backend, other = make(), make()
    jobs = new_jobs(3)
    backend.commit(jobs)
    changed = {job.id: bytes(len(job.payload)) for job in jobs}
    raw.hset(backend._payloads, mapping=changed)
    found = {
        job.id: job.payload for job in backend.claim("t", ClaimTerms(limit=2, visibility_timeout=LONG)).jobs
    }
    assert found == {job.id: job.payload for job in jobs[:2]}
    [last] = other.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs
    assert last.payload == changed[last.id]
    backend.leave("t")
    found = {
        job.id: job.payload for job in backend.claim("t", ClaimTerms(limit=2, visibility_timeout=LONG)).jobs
    }
    assert found == {job_id: changed[job_id] for job_id in found}


def test_a_payload_larger_than_any_batch_is_not_read(make, monkeypatch):
    fits, large = new_jobs(2)
    large = NewJob(large.id, large.payload + b"!", 1)
    make().commit([fits, large])
    monkeypatch.setattr(operated, "MAX_PAYLOAD_BYTES", len(fits.payload))
    claimed = make().claim("t", ClaimTerms(limit=2, visibility_timeout=LONG)).jobs
    assert [job.payload for job in claimed] == [fits.payload, OVERSIZED]


def test_behind_a_rejected_job_one_that_is_stored_is_known_in_a_later_transaction_too(make, monkeypatch):
    """A producer that hears that it was rejected would hand it over again."""
    monkeypatch.setattr(codec, "MAX_COMMIT_BYTES", 8)
    backend = make(ordering=Ordering.FIFO, max_jobs=3)
    waiting, failed, purged, new, last = new_jobs(5)
    backend.commit([waiting, failed, purged])
    backend.claim("t", ClaimTerms(limit=3, visibility_timeout=LONG))
    backend.settle("t", [release(waiting.id), fail(failed.id), release(purged.id)])
    backend.purge(JobState.WAITING, [purged.id])
    backend.commit([last])

    result = backend.commit([new, waiting, failed, purged, waiting])

    assert (result.accepted, result.duplicates, result.rejected) == (0, 3, (new.id, purged.id))
