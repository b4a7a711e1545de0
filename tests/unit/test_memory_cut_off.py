"""At whatever line an exception cuts a step off: the queue in memory loses no job, and passes none over."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from eventspool._backends import memory
from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import new_job
from eventspool._job import Failure, JobState, Settlement, SettlementKind

FILES = {str(path) for path in Path(memory.__file__).parent.glob("*.py")}


class CutOff:
    """A trace function that raises at the *number*-th line that runs of the backend's files."""

    def __init__(self, number):
        self.left = number
        self.place = None

    def __call__(self, frame, event, _):
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                self.place = (frame.f_code.co_filename, frame.f_lineno)
                raise MemoryError
        return self


def live(backend, jobs, cut_off):
    """Do with *jobs* everything that is done with jobs. Repeat a step that was cut off, as producers and processors do."""

    def claim():
        backend.leave("t")
        return backend.claim("t", ClaimTerms(limit=2, visibility_timeout=60.0)).jobs

    def settle():
        claimed = claim()
        kinds = [SettlementKind.FAIL, SettlementKind.RETRY]
        failure = Failure("rejected", "", 1)
        backend.settle(
            "t",
            [
                Settlement(job.id, kind, failure=failure if kind is SettlementKind.FAIL else None)
                for job, kind in zip(claimed, kinds, strict=False)
            ],
        )

    failed = lambda: [job.id for job in backend.jobs(JobState.FAILED, limit=9)]  # noqa: E731
    steps = [
        lambda: backend.commit(jobs[:2]),
        lambda: backend.commit(jobs[2:]),
        settle,
        lambda: backend.replay(failed()),
        settle,
        lambda: backend.purge(JobState.FAILED, []),
    ]
    for step in steps:
        before = sys.gettrace()
        sys.settrace(cut_off)
        try:
            step()
        except MemoryError:
            step()
        finally:
            sys.settrace(before)


@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
def test_wherever_a_step_is_cut_off_every_job_is_handed_out_in_the_end(ordering):
    for number in itertools.count(1):
        backend = memory.MemoryBackend(ordering=ordering)
        jobs = [new_job() for _ in range(4)]
        live(backend, jobs, cut_off := CutOff(number))
        failed = {job.id for job in backend.jobs(JobState.FAILED, limit=9)}
        backend.leave("t")
        handed_out = []
        while claimed := backend.claim("t", ClaimTerms(limit=1, visibility_timeout=60.0)).jobs:
            handed_out += [job.id for job in claimed]
            assert backend.ack([claimed[0].id]) == 1
        assert sorted([*handed_out, *failed]) == sorted(job.id for job in jobs), cut_off.place
        stats = backend.stats()
        assert (stats.waiting.jobs, stats.leased.jobs, stats.delayed.jobs) == (0, 0, 0), cut_off.place
        assert stats.failed.jobs == len(failed), cut_off.place
        if cut_off.left > 0:
            break
    assert number > 200
