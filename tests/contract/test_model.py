"""Whatever is done in whatever order, SQLite answers what the memory backend, the reference, answers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from eventspool._backends.memory import MemoryBackend
from eventspool._backends.sqlite import SQLiteBackend
from eventspool._config import SQLiteOpts
from eventspool._contract.tools import ids_of, new_jobs, retry
from eventspool._job import Failure, JobState, NewJob, Settlement, SettlementKind

MEMORY = (
    "/dev/shm" if Path("/dev/shm").is_dir() else None
)  # thousands of syncs: a busy disk took minutes for them
IDS = [f"{n:028x}" for n in range(1, 13)]
ids = st.lists(st.sampled_from(IDS), min_size=1, max_size=4)
tokens = st.sampled_from(["a", "b"])
seconds = st.sampled_from([0.0, 0.5, 3.0, 20.0])


class SameAnswers(RuleBasedStateMachine):
    @initialize(fifo=st.booleans())
    def begin(self, fifo):
        self.now = 1_000_000.0
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        opts = SQLiteOpts(path=f"{self.folder.name}/queue.db", synchronous="normal")
        limits = {"fifo": fifo, "max_jobs": 8, "max_bytes": 60, "clock": lambda: self.now}
        self.backends = [MemoryBackend(**limits), SQLiteBackend(opts, queue_name="q", prefix="p", **limits)]

    def teardown(self):
        if hasattr(self, "backends"):
            for backend in self.backends:
                backend.close()
            self.folder.cleanup()

    def both(self, method, *args, **options):
        expected, answer = (getattr(backend, method)(*args, **options) for backend in self.backends)
        assert answer == expected
        return answer

    @rule(step=st.sampled_from([0.25, 1.0, 5.0, 12.0, 60.0]))
    def time_passes(self, step):
        self.now += step

    @rule(ids=ids, size=st.integers(1, 12))
    def commit(self, ids, size):
        self.both("commit", [NewJob(job_id, b"x" * size, size % 4) for job_id in ids])

    @rule(
        token=tokens, limit=st.integers(1, 4), timeout=st.sampled_from([0.5, 4.0, 30.0]), probe=st.booleans()
    )
    def claim(self, token, limit, timeout, probe):
        memory, sqlite = (
            b.claim(token, limit=limit, visibility_timeout=timeout, probe=probe) for b in self.backends
        )
        assert sqlite.jobs == memory.jobs
        assert sqlite.wait == (None if memory.wait is None else pytest.approx(memory.wait, abs=1e-5))

    @rule(
        token=tokens,
        ids=ids,
        kind=st.sampled_from(SettlementKind),
        delay=seconds,
        progress=st.text(max_size=3),
    )
    def settle(self, token, ids, kind, delay, progress):
        failure = Failure("rejected", "no", 1, b"y" if delay else None, (0,), 400)
        self.both("settle", token, [Settlement(i, kind, delay, progress, failure) for i in ids])

    @rule(token=tokens, ids=ids, timeout=st.sampled_from([0.5, 4.0, 30.0]))
    def renew(self, token, ids, timeout):
        self.both("renew", token, ids, visibility_timeout=timeout)

    @rule(ids=ids)
    def ack(self, ids):
        self.both("ack", ids)

    @rule(ids=ids)
    def replay(self, ids):
        self.both("replay", ids)

    @rule(ids=ids, state=st.sampled_from(JobState))
    def purge(self, ids, state):
        self.both("purge", state, ids)

    @rule(token=tokens)
    def leave(self, token):
        self.both("leave", token)

    @rule()
    def reopen(self):
        self.backends[1].close()

    @invariant()
    def the_rest_is_the_same(self):
        if not hasattr(self, "backends"):
            return
        self.both("lookup", IDS)
        memory, sqlite = (backend.stats() for backend in self.backends)
        assert (sqlite.waiting, sqlite.delayed, sqlite.leased, sqlite.failed) == (
            memory.waiting,
            memory.delayed,
            memory.leased,
            memory.failed,
        )
        for state in JobState:
            expected, listed = (
                [(j.id, j.events, j.bytes, j.attempts) for j in b.jobs(state, limit=9)] for b in self.backends
            )
            assert listed == expected


TestSameAnswers = SameAnswers.TestCase
TestSameAnswers.settings = settings(
    derandomize=True,
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_clock_that_is_set_back_delays_nothing(tmp_path, kind):
    """Neither what was due before, nor what was to be due soon."""
    now = 10_000.0
    limits = {"fifo": False, "max_jobs": 9, "max_bytes": 9999, "clock": lambda: now}
    opts = SQLiteOpts(path=str(tmp_path / "queue.db"))
    backend = (
        MemoryBackend(**limits)
        if kind == "memory"
        else SQLiteBackend(opts, queue_name="q", prefix="p", **limits)
    )
    delayed, waiting = new_jobs(2)
    backend.commit([delayed])
    backend.claim("t", limit=1, visibility_timeout=1)
    backend.settle("t", [retry(delayed.id, delay=1.5)])
    now = 100.0
    backend.commit([waiting])
    assert ids_of(backend.claim("t", limit=9, visibility_timeout=9).jobs) == [waiting.id]
    now = 102.0
    assert ids_of(backend.claim("t", limit=9, visibility_timeout=9).jobs) == [delayed.id]
    backend.close()
