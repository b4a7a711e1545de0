"""Whatever is done in whatever order, every backend answers what the reference answers."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import ids_of, new_jobs, release, retry
from eventspool._exceptions import QueueUnavailable
from eventspool._figures import Depth
from eventspool._job import PURGED, Failure, JobState, NewJob, Settlement, SettlementKind
from redis_servers import NEWEST, OLDEST, running

from .queues import MemoryQueue, RedisQueue, SQLiteQueue
from .reference import Model

LANES = ("", "-0001", "-0001", "-0002", "-0003", "-0004", "-8001")
IDS = [f"{n:028x}{lanes}" for n, lanes in enumerate(LANES, 1)]
UNBOUND = 1 << 30
TICK = 1e-4
EXAMPLES = int(os.environ.get("EVENTSPOOL_TEST_EXAMPLES", "60"))
# Nothing ends within two seconds of a moment at which somebody looks: Redis' own time cannot be stopped.
STEPS = (4.0, 100.0, 600.0, 1300.0)
LEASES = (50.0, 450.0, 3050.0)
DELAYS = (0.0, 350.0, 1998.0)

ids = st.lists(st.sampled_from(IDS), min_size=1, max_size=4)
workers = st.sampled_from([0, 1])
leases = st.sampled_from(LEASES)


@functools.cache
def server(name):
    """Return a server that runs until the session ends."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(running(name))


class NoAnswer(AssertionError):  # noqa: N818 - it says what is missing
    """Whatever is asked, and again, the queue is away."""


class Queue(RuleBasedStateMachine):
    """One queue and the reference, asked the same."""

    kind = "memory"
    ordering = Ordering.NONE

    @initialize(bounded=st.booleans())
    def begin(self, bounded):
        limits = {"max_jobs": 5, "max_bytes": 40} if bounded else {"max_jobs": UNBOUND, "max_bytes": UNBOUND}
        self.bounded = bounded
        self.model = Model(ordering=self.ordering, **limits)
        options = {"ordering": self.ordering, **limits}
        if self.kind in ("memory", "sqlite"):
            make = MemoryQueue if self.kind == "memory" else SQLiteQueue
            self.queue = make(lambda: self.model.now, **options)
        else:
            self.queue = RedisQueue(server(self.kind), **options)
        self.tokens, self.late = ["a0", "b0"], ["never"]
        self.lives = 0
        self.payloads, self.failures, self.gone = {}, {}, set()
        self.commit(IDS[:5], 3)

    def teardown(self):
        if hasattr(self, "queue"):
            self.queue.end()

    def ask(self, method, *args, **options):
        """Ask the backend; again, where its connection had just been broken."""
        for _ in range(4):
            with contextlib.suppress(QueueUnavailable):
                return getattr(self.queue.backend, method)(*args, **options)
        raise NoAnswer("the queue does not come back")

    @contextlib.contextmanager
    def unheard(self):
        """Have every answer to one step lost, as often as ``ask`` asks."""
        with self.queue.unheard(), contextlib.suppress(NoAnswer):
            yield

    def tick(self):
        self.model.now += TICK

    def aim(self, token, job_ids, *, own):
        """Name what *token* holds, where it is to mean its *own*; chance alone would rarely hit that."""
        held = [i for i in self.model.jobs if self.model.holds(token, i)]
        return [*held, *job_ids[:1]] if own else job_ids[:2]

    def settled(self, job_ids):
        """Leave out jobs whose holder lost the queue: backends may count that lease when it is noticed, or later."""
        return [i for i in job_ids if i not in self.model.jobs or not self.model.jobs[i].void]

    # -- producing and consuming ---------------------------------------------------------------------------------------

    @rule(ids=ids, size=st.integers(1, 12))
    def commit(self, ids, size):
        self.tick()
        # Redis mends a job whose payload is gone when it is committed again; the others leave it alone.
        ids = [i for i in ids if i not in self.model.jobs or self.payloads[i] is not None]
        jobs = [NewJob(job_id, b"x" * size, 1 + size % 4) for job_id in ids]
        before = set(self.model.jobs)
        expected = self.model.commit([(job.id, job.events, size) for job in jobs])
        self.payloads.update((job.id, job.payload) for job in jobs if job.id not in before)
        result = self.ask("commit", jobs)
        assert (result.accepted, result.duplicates, result.rejected, result.impossible) == expected

    @rule(worker=workers, limit=st.integers(1, 4), lease=leases, probe=st.booleans(), sending=st.booleans())
    def claim(self, worker, limit, lease, probe, sending=True):
        self.tick()
        model, token = self.model, self.tokens[worker]
        if self.ordering is Ordering.FIFO:
            limit = 1  # a processor that keeps the order fetches nothing ahead, nor beside what it sends
            if any(model.holds(token, i) and job.due > model.now for i, job in model.jobs.items()):
                return
        offered = model.offer(token, limit, lease, probe=probe)
        claim = self.ask(
            "claim", token, ClaimTerms(limit=limit, visibility_timeout=lease, probe=probe, sending=sending)
        )
        got = [job.id for job in claim.jobs]
        assert [self.merit(i, probe) for i in got] == [self.merit(i, probe) for i in offered]
        assert len(set(got)) == len(got)
        payloads = [self.payloads[i] for i in got]
        assert [job.payload for job in claim.jobs] == payloads
        handed = [(job.attempts, job.progress, job.stalled) for job in claim.jobs]
        assert handed == model.lease(token, got, lease, sending=sending)
        if not got and self.ordering is not Ordering.FIFO:
            self.check_wait(claim.wait)

    def merit(self, job_id, probe):
        return (probe and self.model.probe_rank(job_id), self.model.rank(job_id))

    def check_wait(self, wait):
        unfinished = [i for i, job in self.model.jobs.items() if not job.failed]
        awaited = self.model.heads() if self.ordering is Ordering.PER_USER else unfinished
        due = [self.model.jobs[job_id].due - self.model.now for job_id in awaited]
        assert (wait is None) == (not due)
        # A busy machine may take seconds from one look to the next, which Redis' own time counts.
        assert wait is None or min(due) - 30 < wait < min(due) + 1

    @rule(worker=workers, ids=ids, own=st.booleans())
    def ack(self, worker, ids, own):
        self.tick()
        ids = self.aim(self.tokens[worker], ids, own=own)
        expected = self.model.ack(dict.fromkeys(ids))
        assert self.ask("ack", ids) == expected

    @rule(worker=workers, ids=ids, kind=st.sampled_from(SettlementKind), delay=st.sampled_from(DELAYS),
          progress=st.sampled_from(["", "0-1|", "é"]), shrunk=st.booleans(), late=st.booleans(),
          own=st.booleans())  # fmt: skip
    def settle(self, worker, ids, kind, delay, progress, shrunk, late, own):
        """Also by a holder whose lease ran out, or that is thought dead."""
        self.tick()
        model, token = self.model, self.late[-1] if late else self.tokens[worker]
        ids = self.settled(self.aim(token, ids, own=own))
        failure = Failure("rejected", "no", 1, b"y" if shrunk else None, (0,), 400)
        size = {"events": 1, "size": 1} if shrunk else {}
        expected = [model.settle(token, i, kind, delay=delay, progress=progress, **size) for i in ids]
        for job_id, is_done in zip(ids, expected, strict=True):
            if is_done and kind is SettlementKind.FAIL:
                events = model.jobs[job_id].events
                self.failures[job_id] = replace(failure, payload=None, events=events)
                if shrunk:
                    self.payloads[job_id] = b"y"
        settlements = [Settlement(i, kind, delay, progress, failure) for i in ids]
        assert self.ask("settle", token, settlements) == expected

    @rule(
        worker=workers,
        lease=leases,
        kind=st.sampled_from(SettlementKind),
        turns=st.lists(st.tuples(st.booleans(), st.sampled_from(DELAYS)), min_size=1, max_size=4),
    )
    def work(self, worker, lease, kind, turns):
        """Claim some in turn and end each lease at once: as in an outage."""
        for probe, delay in turns:
            self.claim(worker, 1, lease, probe)
            self.settle(worker, IDS[:1], kind, delay, "", False, False, True)

    @rule(worker=workers, ids=ids, lease=leases, late=st.booleans(), own=st.booleans())
    def renew(self, worker, ids, lease, late, own):
        self.tick()
        token = self.late[-1] if late else self.tokens[worker]
        ids = self.settled(self.aim(token, ids, own=own))
        if (
            self.ordering is Ordering.FIFO
            and self.model.holder == token
            and self.model.holder_until <= self.model.now
        ):
            return  # it may have the queue again, or only what it renews: backends differ, and either will do
        assert self.ask("renew", token, ids, visibility_timeout=lease) == self.model.renew(token, ids, lease)

    @rule(worker=workers)
    def leave(self, worker):
        self.tick()
        token = self.tokens[worker]
        if not any(job.void and job.token == token for job in self.model.jobs.values()):
            self.model.leave(token)
            self.ask("leave", token)

    # -- operating -----------------------------------------------------------------------------------------------------

    @rule(ids=ids)
    def replay(self, ids):
        self.tick()
        assert self.ask("replay", ids) == self.model.replay(ids)

    @rule(ids=ids, state=st.sampled_from(JobState))
    def purge(self, ids, state):
        self.tick()
        ids = self.settled(ids)
        assert self.ask("purge", state, ids) == self.model.purge(state, ids)

    @rule()
    def repair(self):
        self.tick()
        assert self.ask("repair") == 0

    # -- faults --------------------------------------------------------------------------------------------------------

    @rule(step=st.sampled_from(STEPS))
    def time_passes(self, step):
        """Leases run out, retries come due."""
        self.model.now += step
        self.queue.pass_time(step)

    @rule(step=st.sampled_from(STEPS))
    def the_clock_is_set_back(self, step):
        """The queue's own time stands still for it, and then goes on."""
        self.tick()
        assert self.ask("settle", "nobody", [release("none")]) == [False]  # the queue notes what time it was
        self.queue.set_clock_back(step)

    @rule(worker=workers)
    def a_holder_dies(self, worker):
        """It comes back as another, and what it held stays leased. Perhaps it was only slow: see ``late``."""
        self.lives += 1
        self.late.append(self.tokens[worker])
        self.tokens[worker] = f"{'ab'[worker]}{self.lives}"

    @rule()
    def the_way_to_the_queue_breaks(self):
        self.queue.reopen()

    @precondition(lambda self: self.queue.unheard is not None)
    @rule(ids=ids, size=st.integers(1, 12), worker=workers, kind=st.sampled_from([None, *SettlementKind]))
    def a_step_acts_and_its_answer_is_lost(self, ids, size, worker, kind):
        """Its caller hears that the queue is away, and asks for the same again, to no other effect."""
        with self.unheard():
            self.commit(ids, size)
        with self.unheard():
            if kind is None:
                self.ack(worker, ids, own=True)
            else:
                self.settle(worker, ids, kind, 0.0, "", False, False, own=True)

    @rule(number=st.integers(0, 9))
    def a_payload_is_damaged(self, number):
        stored = sorted(i for i in self.model.jobs if self.payloads[i] is not None)
        if stored:
            job_id = stored[number % len(stored)]
            damaged = b"\xff" * len(self.payloads[job_id])
            self.queue.overwrite(job_id, damaged)
            self.payloads[job_id] = damaged

    @precondition(lambda self: not self.bounded and self.queue.remove is not None)
    @rule(number=st.integers(0, 9))
    def a_payload_is_removed(self, number):
        """Its size is unknown from then on, to some; so nothing is bound then."""
        stored = sorted(i for i in self.model.jobs if self.payloads[i] is not None)
        if stored:
            job_id = stored[number % len(stored)]
            self.queue.remove(job_id)
            self.payloads[job_id] = None
            self.gone.add(job_id)

    # -- looking -------------------------------------------------------------------------------------------------------

    @invariant()
    def it_looks_the_same(self):
        if not hasattr(self, "queue"):
            return
        self.tick()
        jobs = self.model.jobs
        failures = {i: self.failures[i] if job.failed else None for i, job in jobs.items()}
        assert self.ask("lookup", IDS) == {**dict.fromkeys(self.model.purged, PURGED), **failures}
        steady = set(self.settled(jobs))
        if self.ordering is Ordering.FIFO and len(steady) < len(jobs):
            return
        for state in JobState:
            expected = {i: jobs[i] for i in jobs if self.model.state(i) is state}
            listed = {job.id: job for job in self.ask("jobs", state, limit=20)}
            assert listed.keys() == expected.keys()
            for job_id, job in expected.items():
                assert (listed[job_id].events, listed[job_id].attempts) == (job.events, job.attempts)
                assert job_id in self.gone or listed[job_id].bytes == job.size
        stats = self.ask("stats")
        stored = sum(job.events for job in jobs.values())
        assert stats.accepted_events == stats.delivered_events + stats.purged_events + stored
        for state, depth in zip(
            JobState, (stats.waiting, stats.delayed, stats.leased, stats.failed), strict=True
        ):
            entries = [jobs[i] for i in jobs if self.model.state(i) is state]
            expected = Depth(len(entries), sum(e.events for e in entries), sum(e.size for e in entries))
            assert depth == (replace(expected, bytes=depth.bytes) if self.gone else expected)


@pytest.mark.parametrize(
    "kind",
    ["memory", "sqlite", *(pytest.param(name, marks=pytest.mark.rotating) for name in (OLDEST, NEWEST[1]))],
)
@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO], ids=["shared", "fifo"])
def test_every_history_is_that_of_the_reference(kind, ordering):
    _compare(kind, ordering)


@pytest.mark.rotating
@pytest.mark.parametrize("kind", [OLDEST, *NEWEST])
def test_every_history_per_user_is_that_of_the_reference(kind):
    _compare(kind, Ordering.PER_USER)


def _compare(kind, ordering):
    machine = type("Queue", (Queue,), {"kind": kind, "ordering": ordering})
    run_state_machine_as_test(
        machine,
        settings=settings(
            derandomize=True,
            database=None,
            max_examples=EXAMPLES,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("make", [MemoryQueue, SQLiteQueue])
def test_a_clock_that_is_set_back_delays_nothing(make):
    """Neither what was due before, nor what was to be due soon."""
    now = 10_000.0
    queue = make(lambda: now, ordering=Ordering.NONE, max_jobs=9, max_bytes=9999)
    backend = queue.backend
    delayed, waiting = new_jobs(2)
    backend.commit([delayed])
    backend.claim("t", ClaimTerms(limit=1, visibility_timeout=1))
    backend.settle("t", [retry(delayed.id, delay=1.5)])
    now = 100.0
    backend.commit([waiting])
    assert ids_of(backend.claim("t", ClaimTerms(limit=9, visibility_timeout=9)).jobs) == [waiting.id]
    now = 102.0
    assert ids_of(backend.claim("t", ClaimTerms(limit=9, visibility_timeout=9)).jobs) == [delayed.id]
    queue.end()
