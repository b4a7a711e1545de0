"""What a crash, another program or a careless operator can leave behind, and what becomes of it."""

from __future__ import annotations

import time

import pytest

from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import LONG, bury, claim_soon, drain, fail, ids_of, new_job, new_jobs, retry
from eventspool._figures import Depth
from eventspool._guest.log import drain_log
from eventspool._job import JobState, NewJob, Settlement, SettlementKind, new_job_id

FIGURES = ("events", "bytes", "failed_events", "failed_bytes")
JUNK = [
    "",
    "junk",
    ":",
    "::",
    "nan",
    "-1:x",
    "1e999:inf",
    "9" * 40 + ":" + "9" * 40,
    b"\xff\x00:\xff",
    "{",
    "[1]",
    '{"a":1}',
]


def test_scripts_are_loaded_again_when_the_server_has_lost_them(backend, raw):
    for _ in range(2):
        raw.script_flush()
        jobs = new_jobs(3)
        assert backend.commit(jobs).accepted == 3, "inside a transaction"
        raw.script_flush()
        assert ids_of(claim_soon(backend, "t", limit=3)) == ids_of(jobs)
        raw.script_flush()
        assert backend.settle("t", [retry(jobs[0].id)]) == [True]
        raw.script_flush()
        assert backend.ack(ids_of(jobs)) == 3
    assert backend.repair() == 0


def test_a_payload_without_an_index_is_queued_again(make, raw, caplog):
    """What a crash leaves between losing the scripts and sending them again."""
    backend = make()
    whole = new_job(5)
    stored = new_jobs(2)
    [failed] = bury(backend, 1)
    backend.commit(stored)
    raw.hset(backend._payloads, whole.id, whole.payload)
    raw.hset(backend._payloads, "foreign", b"no envelope")
    assert backend.lookup([whole.id]) == {}
    assert backend.repair() == 2
    assert backend.repair() == 0
    drain_log(10.0)
    assert "2 jobs without an index" in caplog.text
    assert backend.stats().waiting.events == 2 + 5
    assert backend.stats().waiting.bytes == sum(len(j.payload) for j in (*stored, whole)) + len(
        b"no envelope"
    )
    assert {j.id for j in drain(backend, "t")} == {*ids_of(stored), whole.id, "foreign"}
    assert backend.lookup([failed])[failed] is not None


@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO], ids=["shared", "fifo"])
def test_a_job_whose_id_is_no_text_is_parked_like_any_other(make, raw, ordering):
    backend = make(ordering=ordering)
    raw.zadd(make.prefix + "q", {b"\xff\xfe": 1})
    [job] = claim_soon(backend, "t", limit=1)
    assert backend.settle("t", [fail(job.id)]) == [True]
    assert ids_of(backend.jobs(JobState.FAILED, limit=9)) == [job.id]
    assert backend.purge(JobState.FAILED, [job.id]) == 1
    stored = new_jobs(2)
    backend.commit(stored)
    assert ids_of(drain(backend, "t")) == ids_of(stored)


def test_a_resent_job_completes_its_orphan(backend, raw):
    job = new_job()
    raw.hset(backend._payloads, job.id, job.payload)
    assert backend.commit([job]).accepted == 1
    assert backend.repair() == 0
    assert ids_of(drain(backend, "t")) == [job.id]


def test_sizes_and_totals_are_counted_again_after_damage(make, raw):
    backend = make()
    jobs = [new_job(n) for n in (1, 2, 3)]
    backend.commit(jobs)
    truth = backend.stats()
    raw.hset(
        make.prefix + "m", mapping={"events": "x", "bytes": "", "failed_events": "-3", "failed_bytes": "nan"}
    )
    raw.hset(make.prefix + "n", "stray", "7:7")
    backend.repair()
    assert backend.stats().waiting == truth.waiting
    raw.hdel(make.prefix + "n", jobs[0].id)
    backend.repair()
    assert backend.stats().waiting.bytes == truth.waiting.bytes
    backend.ack(ids_of(jobs))
    assert backend.stats().waiting == backend.stats().failed == Depth()


@pytest.mark.parametrize("waiting", [0, 1, 1001])
@pytest.mark.parametrize("failed", [0, 1])
def test_each_job_is_counted_again_after_damage_once(make, raw, waiting, failed):
    backend = make()
    bury(backend, failed)
    backend.commit(new_jobs(waiting))
    truth = backend.stats()
    kept = raw.hmget(make.prefix + "m", FIGURES)
    raw.hset(make.prefix + "m", mapping=dict.fromkeys(FIGURES, "x"))
    backend.repair()
    if waiting or failed:
        assert raw.hmget(make.prefix + "m", FIGURES) == kept
    assert (backend.stats().waiting, backend.stats().failed) == (truth.waiting, truth.failed)


def test_a_job_of_which_neither_payload_nor_events_are_known_leaves_no_bytes_behind(make, raw):
    backend = make()
    job = NewJob(new_job_id(), b"damaged", 0)
    backend.commit([job])
    raw.hdel(backend._payloads, job.id)
    claim_soon(backend, "t")
    assert backend.settle("t", [fail(job.id, events=0)]) == [True]
    assert backend.stats().failed == Depth(1, 0, 0)
    assert backend.stats().waiting == Depth()


def test_a_job_whose_payload_is_gone_can_be_parked_and_purged(make, raw):
    backend = make()
    job = new_job(3)
    backend.commit([job])
    raw.hdel(backend._payloads, job.id)
    [claimed] = claim_soon(backend, "t")
    assert claimed.payload is None
    assert backend.settle("t", [fail(job.id, reason="missing", events=0)]) == [True]
    assert backend.payload(job.id) is None
    assert backend.repair() == 0
    assert backend._connection.run("audit") == [1, 1], "a missing payload must not cost a scan each minute"
    assert backend.stats().failed == Depth(1, 3, 0), "three events are missed"
    assert backend.purge(JobState.FAILED, [job.id]) == 1
    assert backend.stats().failed == Depth()


@pytest.mark.parametrize("junk", JUNK, ids=repr)
@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO], ids=["shared", "fifo"])
def test_junk_in_any_field_fails_no_call(make, raw, junk, ordering):
    backend = make(ordering=ordering)
    jobs = new_jobs(4)
    backend.commit(jobs)
    [head, *_] = claim_soon(backend, "t", limit=2)
    backend.settle("t", [fail(head.id)])
    for key in "ntoi":
        for job in jobs:
            raw.hset(make.prefix + key, job.id, junk)
    for field in ("events", "bytes", "failed_events", "failed_bytes", "last", "clock", "else"):
        raw.hset(make.prefix + "m", field, junk)
    raw.hset(make.prefix + "p", "t", junk)
    raw.hset(make.prefix + "p", junk, junk)
    backend.stats()
    for state in JobState:
        for job in backend.jobs(state, limit=10):
            assert job.attempts >= 0
    backend.lookup(ids_of(jobs))
    assert backend.commit([new_job()]).accepted in (0, 1)
    for probe in (False, True):
        backend.claim("t", ClaimTerms(limit=9, visibility_timeout=0.05, probe=probe))
    backend.renew("t", ids_of(jobs), visibility_timeout=LONG)
    backend.settle("t", [retry(jobs[1].id), fail(jobs[2].id)])
    backend.leave("t")
    backend.repair()
    backend.replay(ids_of(jobs))
    backend.purge(JobState.WAITING, ids_of(jobs[:1]))
    backend.ack([*ids_of(jobs), *ids_of(backend.jobs(JobState.WAITING, limit=99))])
    assert backend.stats().waiting == Depth()


def test_progress_may_hold_anything(backend):
    backend.commit(new_jobs(1))
    for progress in ("a:b", "1:2:3", "\n\r\0", "ünïcödé 🎉", '{"done":[1,2]}', ":"):
        [job] = claim_soon(backend, "t")
        backend.settle("t", [retry(job.id, progress=progress)])
        [job] = claim_soon(backend, "u")
        assert job.progress == progress
        backend.leave("u")


def test_an_oversized_request_is_cut_to_a_thousand(backend):
    jobs = [NewJob(new_job_id(), b"x", 1) for _ in range(2500)]
    assert backend.commit(jobs).accepted == 2500
    assert len(backend.claim("t", ClaimTerms(limit=5000, visibility_timeout=LONG)).jobs) == 1000
    assert len(backend.jobs(JobState.WAITING, limit=1 << 30)) == 1000
    assert len(backend.lookup(ids_of(jobs))) == 2500
    assert backend.stats().leased == Depth(1000, 1000, 1000)
    drain(backend, "t", limit=5000)
    assert backend.renew("t", ids_of(jobs), visibility_timeout=LONG) == set()
    later = [Settlement(job.id, SettlementKind.RETRY, delay=LONG) for job in jobs]
    assert backend.settle("t", later) == [True] * 2500
    assert backend.stats().delayed == Depth(2500, 2500, 2500), "estimated from a sample, and all are alike"
    assert backend.purge(JobState.DELAYED, ids_of(jobs)) == 2500
    assert backend.stats().delayed == Depth()


def test_a_large_commit_is_several_transactions(backend, raw):
    jobs = [NewJob(new_job_id(), bytes(450_000), 1) for _ in range(20)]
    before = raw.info("commandstats").get("cmdstat_exec", {"calls": 0})["calls"]
    assert backend.commit(jobs).accepted == 20
    assert raw.info("commandstats")["cmdstat_exec"]["calls"] - before == 3, (
        "nine of these fit into four megabytes"
    )
    assert ids_of(drain(backend, "t")) == ids_of(jobs)


@pytest.mark.parametrize(("payload_bytes", "transactions"), [(16 << 10, 0), ((16 << 10) + 1, 1)])
def test_a_small_commit_is_one_command(backend, raw, payload_bytes, transactions):
    def count(command):
        return raw.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]

    jobs = [NewJob(new_job_id(), bytes(payload_bytes - 100), 1), NewJob(new_job_id(), bytes(100), 1)]
    before = count("evalsha"), count("exec")
    assert backend.commit(jobs).accepted == 2
    assert (count("evalsha") - before[0], count("exec") - before[1]) == (1, transactions)
    assert backend.commit(jobs).duplicates == 2
    assert ids_of(drain(backend, "t")) == ids_of(jobs)


@pytest.mark.parametrize("payload_bytes", [600, 20_000], ids=["through Lua", "by a transaction"])
def test_a_payload_that_is_stored_already_is_not_overwritten(make, raw, payload_bytes):
    backend = make()
    job = NewJob(new_job_id(), bytes(payload_bytes), 1)
    backend.commit([job])
    assert backend.commit([NewJob(job.id, b"x" * payload_bytes, 1)]).duplicates == 1
    assert raw.hget(backend._payloads, job.id) == job.payload


def test_what_does_not_fit_is_not_stored(make, raw):
    backend = make(max_bytes=1000)
    small, large = NewJob(new_job_id(), bytes(600), 1), NewJob(new_job_id(), bytes(600), 1)
    tiny = NewJob(new_job_id(), bytes(10), 1)
    result = backend.commit([small, large, tiny])
    assert (result.accepted, result.rejected) == (2, (large.id,))
    assert set(raw.hkeys(backend._payloads)) == {small.id.encode(), tiny.id.encode()}
    assert backend.ack([small.id, large.id, tiny.id]) == 2
    assert set(raw.keys(make.prefix + "*")) <= {(make.prefix + key).encode() for key in "mwpc"}
    assert backend.stats().waiting == Depth()


def test_in_order_nothing_overtakes_a_rejected_job(make):
    backend = make(ordering=Ordering.FIFO, max_bytes=1000)
    jobs = [NewJob(new_job_id(), bytes(size), 1) for size in (600, 600, 10)]
    assert backend.commit(jobs).rejected == tuple(ids_of(jobs[1:]))
    backend.ack(ids_of(jobs))
    many = [NewJob(new_job_id(), bytes(999 if n == 50 else 1), 1) for n in range(1100)]
    assert backend.commit(many).rejected == tuple(ids_of(many[50:])), "nor in the next transaction"


def test_a_reduced_failed_job_is_not_restored_by_its_producer(backend):
    job = new_job(5)
    backend.commit([job])
    claim_soon(backend, "t")
    backend.settle("t", [fail(job.id, payload=b"the rest")])
    assert backend.commit([job]).duplicates == 1
    assert backend.payload(job.id) == b"the rest"


def test_a_stale_holder_cannot_replace_a_payload(backend):
    job = new_job(5)
    backend.commit([job])
    claim_soon(backend, "stale")
    backend.leave("stale")
    claim_soon(backend, "holder")
    assert backend.settle("stale", [fail(job.id, payload=b"the rest")]) == [False]
    assert backend.payload(job.id) == job.payload


def test_a_list_goes_on_when_its_cursor_has_gone(backend):
    """It may repeat, but neither skip a job nor start over for ever."""
    buried = bury(backend, 6)
    [_, second] = backend.jobs(JobState.FAILED, limit=2)
    backend.replay([second.id])
    assert set(buried[2:]) <= {j.id for j in backend.jobs(JobState.FAILED, limit=9, after=second.id)}


@pytest.mark.parametrize("noted", [False, True], ids=["older-alone", "beside-older"])
@pytest.mark.parametrize("ahead", [0.5, 3600.0])
@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO], ids=["shared", "fifo"])
def test_a_last_place_ahead_of_the_clock_does_not_hold_up_new_jobs(make, raw, ordering, ahead, noted):
    """An older process gave it out before the clock was set back."""
    backend = make(ordering=ordering)
    if noted:
        backend.pause(False)
    raw.hset(make.prefix + "m", "last", round((time.time() + ahead) * 1e6))
    job = new_job()
    backend.commit([job])
    assert ids_of(backend.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs) == [job.id]
    backend.settle("t", [fail(job.id)])
    assert backend.replay([job.id]) == 1
    assert ids_of(backend.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs) == [job.id]


def test_nothing_is_left_of_a_failure_that_was_replayed(make, raw):
    backend = make()
    [job_id] = bury(backend, 1)
    assert backend.replay([job_id]) == 1
    assert [key for key in "itof" if raw.exists(make.prefix + key)] == []


def test_nothing_is_left_of_a_drained_queue(make, raw):
    backend = make()
    jobs = new_jobs(5)
    backend.commit(jobs)
    claim_soon(backend, "t", limit=5)
    backend.settle("t", [retry(jobs[0].id, progress="x"), fail(jobs[1].id)])
    backend.ack(ids_of(jobs))
    backend.leave("t")
    left = {key.decode().removeprefix(make.prefix) for key in raw.keys(make.prefix + "*")}
    assert left <= {"m", "w", "c"}
    assert raw.llen(make.prefix + "w") <= 1
