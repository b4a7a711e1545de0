"""A queue that processes of an older release use, too."""

from __future__ import annotations

from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import bury, claim_soon, fail, new_job, new_jobs
from eventspool._job import JobState
from redis_servers import move_clock

LONG = 60.0


def test_totals_that_nobody_has_kept_start_at_zero(make, raw):
    backend = make()
    job = new_job(3)
    backend.commit([job])
    raw.hdel(make.prefix + "m", "accepted", "delivered", "buried", "purged")
    stats = backend.stats()
    assert (stats.accepted_events, stats.delivered_events, stats.failed_events) == (0, 0, 0)
    backend.ack([job.id])
    assert backend.stats().delivered_events == 3


def test_damaged_totals_read_as_zero_and_fail_no_call(make, raw):
    backend = make()
    for junk in ("x", "", "-5", "nan", "1e400"):
        raw.hset(
            make.prefix + "m",
            mapping=dict.fromkeys(("accepted", "delivered", "buried", "purged", "paused", "swept"), junk),
        )
        assert not backend.stats().paused
        job = new_job(2)
        backend.commit([job])
        assert backend.stats().accepted_events == 2
        claim_soon(backend, "t")
        backend.renew("t", [job.id], visibility_timeout=LONG, note="{}")
        backend.ack([job.id])
        assert backend.stats().delivered_events == 2
        backend.commit([job])
        assert backend.purge(JobState.WAITING, [job.id]) == 1
        assert backend.stats().purged_events == 2


def test_notes_of_processors_that_are_gone_are_swept(make, raw):
    backend = make()
    raw.hset(make.prefix + "h", "gone", "{}")
    raw.hset(make.prefix + "p", "stale", "1000000")
    raw.hset(make.prefix + "h", "stale", "{}")
    backend.renew("here", [], visibility_timeout=LONG, note="{}")
    assert raw.hkeys(make.prefix + "h") == [b"here"]
    assert raw.hkeys(make.prefix + "p") == [b"here"]


def test_a_processor_that_leaves_no_note_is_listed(make, raw):
    backend = make()
    seconds, _ = raw.time()
    raw.hset(make.prefix + "p", "older", f"{seconds}000000")
    assert backend.processors() == [("older", float(seconds), "")]


def test_reasons_that_older_processes_did_not_count_are_counted_anew(make, raw):
    backend = make()
    bury(backend, 3)
    truth = backend.reasons()
    assert truth["rejected"].jobs == 3
    kept = make.prefix + "m"
    for damage in ("0:0:0", "junk", "9:9:9"):
        raw.hset(kept, "r:rejected", damage)
        assert backend.reasons() == truth
        assert raw.hget(kept, "r:rejected") == b"3:%d:%d" % (
            truth["rejected"].events,
            truth["rejected"].bytes,
        )
    raw.hset(kept, "r:stray", "1:1:1")
    assert backend.reasons() == truth
    assert raw.hget(kept, "r:stray") is None
    raw.delete(make.prefix + "f")
    assert backend.reasons() == {}
    assert backend.reasons() == {}, "nor do the counts made anew hold any"
    assert raw.hget(kept, "r:rejected") is None


def test_the_queue_lease_of_an_older_process_is_heeded_and_runs_out(make, raw):
    """It writes its token alone, and leaves the time to the server."""
    backend = make(ordering=Ordering.FIFO)
    [job] = new_jobs(1)
    backend.commit([job])
    raw.set(make.prefix + "l", "older", px=500)
    early = backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
    assert early.jobs == ()
    assert 0 < early.wait <= 0.5
    assert backend.renew("t", [job.id], visibility_timeout=LONG) == {job.id}
    assert claim_soon(backend, "t")[0].id == job.id


def test_an_older_process_sees_that_somebody_else_has_the_queue_and_for_how_long(make, raw):
    """It compares what stands there with its own token, and asks the server for the rest of the lease."""
    backend = make(ordering=Ordering.FIFO)
    backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
    for _ in range(2):
        assert raw.get(make.prefix + "l") not in (None, b"older")
        assert 9_000 < raw.pttl(make.prefix + "l") <= 10_000
        backend.renew("t", [], visibility_timeout=LONG)


def test_an_older_process_that_took_the_queue_over_has_it(make, raw):
    """It knows of one key alone, and found that gone: expired, or evicted."""
    backend = make(ordering=Ordering.FIFO)
    [job] = new_jobs(1)
    backend.commit([job])
    claim_soon(backend, "t")
    seconds, micros = raw.time()
    raw.set(make.prefix + "l", f"{seconds * 1_000_000 + micros + 5_000_000}:older", px=5000)
    assert backend.renew("t", [job.id], visibility_timeout=LONG) == {job.id}
    assert backend.settle("t", [fail(job.id)]) == [False]
    assert backend.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG)).wait > 1
    backend.leave("t")
    assert raw.get(make.prefix + "l").endswith(b":older"), "its lease is its own to end"


def test_an_older_process_gets_the_queue_when_its_holder_leaves(make, raw):
    backend = make(ordering=Ordering.FIFO)
    backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
    backend.leave("t")
    assert raw.get(make.prefix + "l") is None


def commit_as_older(prefix, raw):
    """It takes the server's clock as it is."""
    job = new_job()
    seconds, _ = raw.time()
    raw.hset(prefix + "d", job.id, job.payload)
    raw.hset(prefix + "n", job.id, f"1:{len(job.payload)}")
    raw.zadd(prefix + "q", {job.id: seconds * 1_000_000})
    raw.hset(prefix + "m", "last", seconds * 1_000_000)


def test_what_an_older_process_commits_after_the_clock_was_set_back_is_claimed_at_once(make, raw):
    """It gives out places before those that were given out."""
    backend = make()
    backend.commit(new_jobs(1))
    move_clock(raw, make.prefix, -3600.0)
    commit_as_older(make.prefix, raw)
    assert len(backend.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs) == 2


def test_what_older_processes_committed_before_the_clock_was_set_back_is_claimed_at_once(make, raw):
    backend = make()
    commit_as_older(make.prefix, raw)
    move_clock(raw, make.prefix, -3600.0)
    assert len(backend.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs) == 1


def test_a_reason_can_be_any_text(make):
    backend = make()
    for reason in ('with "quotes"', "\u00e4", "", "r:"):
        job = new_job()
        backend.commit([job])
        claim_soon(backend, "t")
        backend.settle("t", [fail(job.id, reason=reason)])
        assert backend.reasons()[reason].jobs == 1
        assert backend.purge(JobState.FAILED, [job.id]) == 1
        assert backend.reasons() == {}
