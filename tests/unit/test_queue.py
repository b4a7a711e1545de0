"""The operator's view, on a queue in memory."""

from __future__ import annotations

import json
import time
from decimal import Decimal

import pytest

from eventspool import ConfigError, Erasure, ProcessorInfo, Queue
from eventspool._backends.memory import MemoryBackend
from eventspool._claim import ClaimTerms
from eventspool._contract.tools import claim_soon, fail, ids_of, release, retry
from eventspool._envelope import open_envelope, seal
from eventspool._figures import Depth
from eventspool._job import NewJob, new_job_id

LONG = 60.0


def batch(*users, age=0.0, **fields):
    """Return a job with one event for each of *users*."""
    events = [json.dumps({"event": f"of {user}", "userId": user, **fields}).encode() for user in users]
    job_id = f"{int((time.time() - age) * 1000):012x}{new_job_id()[12:]}"
    return NewJob(job_id, seal(events), len(events))


@pytest.fixture
def backend():
    return MemoryBackend()


@pytest.fixture
def queue(backend):
    return Queue(backend)


@pytest.fixture
def bury(backend):
    def bury(*jobs, reason="rejected"):
        backend.commit(jobs)
        claim_soon(backend, "t", limit=len(jobs))
        backend.settle("t", [fail(job.id, reason=reason, events=job.events) for job in jobs])
        return ids_of(jobs)

    return bury


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def users_in(queue, state="failed"):
    return [event["userId"] for job in queue.jobs(state) for event in queue.events(job.id)]


def test_a_pause_is_seen_and_ends(queue, backend):
    backend.commit([batch("ann")])
    queue.pause()
    assert queue.stats().paused
    assert not backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs
    queue.resume()
    assert not queue.stats().paused
    assert backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs


def test_processors_come_oldest_first_and_a_silent_one_is_listed(queue, backend):
    for token, note in (("a", '{"started_at":9,"pid":1}'), ("b", '{"started_at":5,"pid":2}'), ("c", "")):
        backend.renew(token, [], visibility_timeout=LONG, note=note)
    processors = queue.processors()
    assert all(isinstance(each, ProcessorInfo) for each in processors)
    assert [(each.token, each.pid) for each in processors] == [("c", 0), ("b", 2), ("a", 1)]


def test_failed_jobs_are_counted_by_reason(queue, bury):
    first, second = batch("ann", "bob"), batch("ann")
    bury(first, reason="rejected")
    bury(second, reason="max_attempts")
    assert queue.failed_reasons() == {
        "rejected": Depth(1, 2, len(first.payload)),
        "max_attempts": Depth(1, 1, len(second.payload)),
    }


@pytest.mark.parametrize("everything", [False, True])
def test_delayed_jobs_are_tried_now(queue, backend, everything):
    jobs = [batch("ann"), batch("bob")]
    backend.commit(jobs)
    claim_soon(backend, "t", limit=2)
    backend.settle("t", [retry(job.id, delay=LONG) for job in jobs])
    assert queue.retry_now(None if everything else ids_of(jobs[:1])) == (2 if everything else 1)
    assert queue.stats().delayed.jobs == (0 if everything else 1)


def test_conditions_must_all_hold(queue, bury):
    old, new, other = batch("ann", age=100), batch("bob"), batch("cat", age=100)
    bury(old, new, reason="rejected")
    bury(other, reason="stalled")
    assert queue.purge(older_than=50, reason="rejected", ids=ids_of([new, other])) == 0
    assert queue.purge(older_than=50, reason="rejected", ids=[*ids_of([old, new]), "never-stored"]) == 1
    assert users_in(queue) == ["bob", "cat"]
    assert queue.purge(older_than=50) == 1
    assert users_in(queue) == ["bob"]
    assert queue.purge(reason="rejected") == 1


def test_a_job_of_unknown_age_is_not_old(queue, bury):
    bury(NewJob("foreign", batch("ann").payload, 1))
    assert queue.purge(older_than=0) == 0
    assert queue.purge() == 1


def test_an_export_takes_the_same_conditions(queue, bury, tmp_path):
    old, new, other = batch("ann", age=100), batch("ann", "bob"), batch("cat")
    bury(old, new, reason="rejected")
    bury(other, reason="stalled")
    path = tmp_path / "events.jsonl"

    def exported(**conditions):
        count = queue.export(path, **conditions)
        assert count == len(lines(path))
        return [event["userId"] for event in lines(path)]

    assert exported() == ["ann", "ann", "bob", "cat"]
    assert exported(reason="stalled") == ["cat"]
    assert exported(older_than=50) == ["ann"]
    assert exported(ids=[new.id]) == ["ann", "bob"]
    assert exported(user_id="ann") == ["ann", "ann"]
    assert exported(user_id="ann", ids=[new.id], older_than=50) == []
    assert queue.stats().failed.jobs == 3, "nothing leaves the queue"


def test_a_users_events_are_erased_and_the_others_stay(queue, bury):
    bury(batch("ann", "bob", "ann"), batch("ann"), batch("bob"))
    assert queue.erase("ann", dry_run=True) == Erasure(3, rewritten=1, removed=1, looked_at=3)
    assert users_in(queue) == ["ann", "bob", "ann", "ann", "bob"]
    done = queue.erase("ann")
    assert (done, done.is_complete) == (Erasure(3, rewritten=1, removed=1, looked_at=3), True)
    assert users_in(queue) == ["bob", "bob"]
    assert (queue.stats().failed.jobs, queue.stats().failed.events) == (2, 2)
    assert queue.erase("ann").events == 0


def test_an_erasure_takes_every_state_or_the_one_named(queue, backend, bury):
    bury(batch("ann", "bob"))
    backend.commit([batch("ann", "bob")])
    assert queue.erase("ann", "waiting").events == 1
    assert (users_in(queue, "failed"), users_in(queue, "waiting")) == (["ann", "bob"], ["bob"])
    assert queue.erase("ann").events == 1
    assert users_in(queue) == ["bob"]


def test_an_erasure_takes_the_same_conditions(queue, bury):
    old, new, other = batch("ann", age=100), batch("ann", "bob"), batch("ann")
    bury(old, new, reason="rejected")
    bury(other, reason="stalled")

    def erased(**conditions):
        return queue.erase("ann", dry_run=True, **conditions).events

    assert [erased(reason="stalled"), erased(older_than=50), erased(ids=[new.id, "never-stored"])] == [
        1,
        1,
        1,
    ]
    assert erased(ids=[new.id], older_than=50) == 0


@pytest.mark.parametrize("name", ["userId", "anonymousId", "previousId"])
def test_a_user_is_found_by_each_of_their_ids(queue, backend, name):
    backend.commit([batch("someone", **{name: "ann"}), batch("someone", properties={name: "ann"})])
    assert queue.erase("ann").events == 1
    assert queue.stats().waiting.jobs == 1


def test_what_is_being_sent_or_half_sent_is_left_and_named(queue, backend):
    backend.commit([leased := batch("ann"), half := batch("ann", "bob"), batch("bob")])
    claim_soon(backend, "t", limit=2)
    backend.settle("t", [release(half.id, progress="1-2|")])
    done = queue.erase("ann")
    assert (done.events, done.leased, done.sent_in_part) == (0, (leased.id,), (half.id,))
    assert not done.is_complete
    assert backend.payload(half.id) == half.payload
    assert backend.payload(leased.id) == leased.payload
    backend.leave("t")
    backend.ack([half.id])
    assert (queue.erase("ann").events, queue.erase("ann").is_complete) == (1, True)


def test_a_job_that_is_claimed_after_it_was_listed_is_named(queue, backend, monkeypatch):
    backend.commit([job := batch("ann", "bob")])
    read = backend.payloads

    def read_and_claim(ids):
        claim_soon(backend, "t", limit=1)
        return read(ids)

    monkeypatch.setattr(backend, "payloads", read_and_claim)
    assert queue.erase("ann").leased == (job.id,)


def test_a_job_that_is_delivered_meanwhile_is_not_left(queue, backend, monkeypatch):
    backend.commit([job := batch("ann", "bob")])
    monkeypatch.setattr(backend, "rewrite", lambda _: [not backend.ack([job.id])])
    assert queue.erase("ann") == Erasure(looked_at=1)


def test_a_job_that_changes_its_state_meanwhile_is_found(queue, backend, monkeypatch):
    """It was leased when the erasure began, and waits when its events are read."""
    backend.commit([job := batch("ann")])
    claim_soon(backend, "t", limit=1)
    read = backend.payloads

    def give_back_and_read(ids):
        backend.settle("t", [release(job.id)])
        return read(ids)

    monkeypatch.setattr(backend, "payloads", give_back_and_read)
    assert queue.erase("ann").events == 1


def test_what_cannot_be_read_is_left_alone_and_named(queue, bury):
    junk, odd = NewJob(new_job_id(), b"junk", 1), NewJob(new_job_id(), seal([b"not json", b"[1]"]), 2)
    bury(junk, odd)
    done = queue.erase("ann")
    assert (done.events, done.unreadable, done.is_complete) == (0, (junk.id, odd.id), False)
    assert queue.stats().failed.jobs == 2


def test_leased_jobs_cannot_be_purged_and_ages_must_be_numbers(queue):
    with pytest.raises(ConfigError):
        queue.purge("leased")
    with pytest.raises(ConfigError):
        queue.purge(older_than=-1)
    with pytest.raises(ConfigError):
        queue.erase("ann", older_than=-1)


def test_numbers_that_python_does_not_read_hide_nobodys_events(queue, backend, tmp_path):
    """Neither from a look, nor from an export, nor from an erasure."""
    digits = "9" * 7000
    backend.commit([batch("ann", "bob", n=0)])
    [job] = queue.jobs("waiting")
    stored = open_envelope(backend.payload(job.id)).split()
    backend.commit(
        [NewJob(new_job_id(), seal([e.replace(b'"n": 0', b'"n": %s' % digits.encode()) for e in stored]), 2)]
    )
    events = [event for job in queue.jobs("waiting") for event in queue.events(job.id)]
    assert [event["n"] for event in events] == [0, 0, Decimal(digits), Decimal(digits)]
    assert queue.export(tmp_path / "out", "waiting", user_id="bob") == 2
    assert digits in (tmp_path / "out").read_text()
    erased = queue.erase("bob")
    assert erased.is_complete
    assert erased.events == 2


def test_a_user_is_erased_by_an_id_that_was_cleaned_when_it_was_stored(queue, backend):
    backend.commit([batch("a\ufffdb", "ann")])
    assert queue.erase("a\udc80b").events == 1
