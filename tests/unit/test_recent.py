"""What was just committed is not read back, unless the queue stores something else by now."""

from __future__ import annotations

from eventspool._backends.recent import RecentPayloads
from eventspool._job import NewJob


def _jobs(*sizes):
    return [NewJob(f"job-{number}", b"x" * size, 1) for number, size in enumerate(sizes)]


def test_a_payload_is_handed_out_once():
    recent = RecentPayloads(100)
    recent.keep(_jobs(10, 20))
    assert recent.take([("job-1", 20), ("other", 5)]) == {"job-1": b"x" * 20}
    assert recent.take([("job-1", 20), ("job-0", 10)]) == {"job-0": b"x" * 10}


def test_a_payload_of_another_size_than_the_stored_one_is_forgotten():
    recent = RecentPayloads(100)
    recent.keep(_jobs(10))
    assert recent.take([("job-0", 7)]) == {}
    assert recent.take([("job-0", 10)]) == {}


def test_the_oldest_go_first_when_there_is_no_room():
    recent = RecentPayloads(25)
    recent.keep(_jobs(10, 10, 10, 200))
    assert recent.take([("job-0", 10), ("job-1", 10), ("job-2", 10), ("job-3", 200)]) == {}
    recent.keep(_jobs(10, 10, 4))
    assert list(recent.take([("job-0", 10), ("job-1", 10), ("job-2", 4)])) == ["job-0", "job-1", "job-2"]
    recent.keep(_jobs(10, 10, 10))
    assert list(recent.take([("job-0", 10), ("job-1", 10), ("job-2", 10)])) == ["job-1", "job-2"]


def test_keeping_a_job_twice_counts_it_once():
    recent = RecentPayloads(25)
    recent.keep(_jobs(10))
    recent.keep(_jobs(10, 10))
    assert len(recent.take([("job-0", 10), ("job-1", 10)])) == 2
