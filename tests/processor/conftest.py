"""A processor on a memory queue, with a data plane that answers by function."""

from __future__ import annotations

import contextlib
import gzip as gzip_module
import itertools
import json
import threading
import time

import pytest

from eventspool._backends.memory import MemoryBackend
from eventspool._config import JobOpts, Ordering
from eventspool._delivery.parcel import Packer
from eventspool._delivery.processor import Processor
from eventspool._delivery.verdict import DeliveryResult
from eventspool._envelope import open_envelope, seal
from eventspool._job import JobState, NewJob, new_job_id
from laned_memory import LanedMemory

FAST = {"backoff_initial": 0.001, "backoff_max": 0.004}
OK = DeliveryResult(200)
DOWN = DeliveryResult(503)

_numbers = itertools.count()


def until(condition, timeout=10.0):
    """Poll *condition* until it is true and return its value; fail after *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.002)
    return value


def make_job(*names, age=0.0):
    """Return a job of one event per name; made *age* seconds ago."""
    stamp = f"{int((time.time() - age) * 1000):012x}{next(_numbers):08x}"
    events = [json.dumps({"type": "track", "event": name, "messageId": name}).encode() for name in names]
    return NewJob((stamp + new_job_id()[-8:]), seal(events), len(names))


def names_of(payload):
    """Return the names of the events in an envelope."""
    return [json.loads(event)["event"] for event in open_envelope(payload).split()]


class Plane:
    """A transport that notes what it is sent and answers with ``answer(names)``, or the next of a list."""

    def __init__(self, answer=OK):
        self.answer = answer
        self.sent = []
        self.times = []
        self.accepted = []
        self._lock = threading.Lock()

    def send(self, body, *, gzip):
        text = gzip_module.decompress(body) if gzip else body
        names = [event["event"] for event in json.loads(text)["batch"]]
        with self._lock:
            self.sent.append(names)
            self.times.append(time.monotonic())
            answer = self.answer.pop(0) if isinstance(self.answer, list) else self.answer
        if callable(answer):
            answer = answer(names)
        if isinstance(answer, Exception):
            raise answer
        if answer.status is not None and 200 <= answer.status < 300:
            with self._lock:
                self.accepted.append(names)
        return answer

    def close(self):
        pass

    def count(self, name):
        return sum(names.count(name) for names in list(self.sent))


class Clock:
    """A wall clock that a test can push forward."""

    ahead = 0.0

    def __call__(self):
        return time.time() + self.ahead


class Rig:
    """
    A queue, a data plane, and the processor between them.

    At most *most_jobs* share a request.
    """

    def __init__(
        self, answer=OK, *, ordering=Ordering.NONE, backend=None, jitter=None, plane=None, most_jobs=1, **opts
    ):
        self.clock = Clock()
        if ordering is Ordering.PER_USER:
            backend = backend or LanedMemory(clock=self.clock)
        self.backend = backend or MemoryBackend(ordering=ordering, clock=self.clock)
        self.plane = plane or Plane(answer)
        self.settled = []
        self.opts = JobOpts(**{**FAST, **opts})
        self.ordering = ordering
        self._jitter = jitter
        self.packer = Packer(1 << 20, most_jobs)
        self.processor = self._make()
        self.ids = []

    def _make(self):
        more = {} if self._jitter is None else {"jitter": self._jitter}
        return Processor(
            self.backend,
            self.plane,
            self.opts,
            ordering=self.ordering,
            packer=self.packer,
            gzip=True,
            on_settled=self.settled.append,
            **more,
        )

    def commit(self, *jobs):
        self.ids += [job.id for job in jobs]
        self.backend.commit(jobs)
        self.processor.wake()
        return jobs

    def start(self):
        self.processor.start()
        return self

    def share(self, jobs=64):
        """Let as many *jobs* share a request as if the data plane had answered for long."""
        while self.packer.jobs_for(1) < jobs:
            self.packer.note_answer(["j"] * self.packer.jobs_for(1))
        return self

    def renew(self):
        """Begin a second life, as after a restart."""
        self.processor.stop(5.0)
        self.processor = self._make()
        return self.start()

    def empty(self):
        """Wait until nothing is unfinished."""
        until(lambda: self.unfinished == 0)
        return self

    def await_settled(self, count):
        """Return whom the processor has told of what; fail unless there are *count*. The queue has recorded each before."""
        until(lambda: len(self.settled) >= count)
        assert len(self.settled) == count
        return self.settled

    @property
    def unfinished(self):
        stats = self.backend.stats()
        return stats.waiting.jobs + stats.delayed.jobs + stats.leased.jobs

    @property
    def failed(self):
        return self.backend.jobs(JobState.FAILED, limit=1_000)

    @property
    def attempts(self):
        states = (
            JobState.LEASED,
            JobState.DELAYED,
            JobState.WAITING,
        )  # time moves jobs in this direction only
        with self.backend._lock:
            jobs = [job for state in states for job in self.backend.jobs(state, limit=1_000)]
        return {job.id: job.attempts for job in jobs}

    def failure(self, job_id):
        return self.backend.lookup([job_id])[job_id]


@pytest.fixture
def rig():
    """Return a function that makes a rig (see there), stopped at the end of the test."""
    with contextlib.ExitStack() as stack:

        def make(*args, **kwargs):
            rig = Rig(*args, **kwargs)
            stack.callback(lambda: rig.processor.stop(2.0))
            return rig

        yield make
