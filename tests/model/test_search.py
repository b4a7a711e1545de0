"""The lease protocol, in every order in which it can happen."""

from __future__ import annotations

import pytest

from eventspool._config import Ordering

from .reference import Model
from .search import BrokenInvariantError, Search


class TakesStaleSettlements(Model):
    """Does not look who holds the lease."""

    def settle(self, token, job_id, kind, **terms):
        holder = self.jobs[job_id].token if job_id in self.jobs else token
        return super().settle(holder, job_id, kind, **terms)


class HandsOutLeasedJobs(Model):
    """Does not look whether a lease has ended."""

    def offer(self, token, limit, seconds, *, probe=False):
        return [i for i, job in self.jobs.items() if not job.failed][:limit]


class ForgetsLeasesThatRanOut(Model):
    """Counts no attempt for them."""

    def lease(self, token, ids, seconds):
        handed = super().lease(token, ids, seconds)
        for job_id, (attempts, _, stalled) in zip(ids, handed, strict=True):
            self.jobs[job_id] = self.jobs[job_id]._replace(attempts=attempts - stalled)
        return handed


class NeverReturnsLeases(Model):
    """Leaves what a dead worker held to it."""

    def offer(self, token, limit, seconds, *, probe=False):
        return [i for i in super().offer(token, limit, seconds, probe=probe) if not self.jobs[i].token]


class LetsOvertakeWhatWaitsForItsRetry(Model):
    """Holds a lane only for as long as a job of it is leased."""

    def heads(self):
        return [i for i, job in self.jobs.items() if not job.failed]


@pytest.mark.rotating
@pytest.mark.parametrize(
    "ordering", [Ordering.NONE, Ordering.FIFO, Ordering.PER_USER], ids=["shared", "fifo", "per-user"]
)
def test_no_order_of_steps_loses_a_job_or_leases_it_twice(ordering, capsys):
    states, ends = Search(ordering=ordering, faults=3).run()
    with capsys.disabled():
        print(f"\n{states:,} states, {ends:,} of them ends", end=" ")
    assert states > 5_000


@pytest.mark.parametrize(
    ("planted", "finding"),
    [
        ({"model": TakesStaleSettlements}, "two live leases|attempts"),
        ({"model": HandsOutLeasedJobs}, "two live leases"),
        ({"model": ForgetsLeasesThatRanOut}, "attempts"),
        ({"model": NeverReturnsLeases}, "no end can be reached"),
        ({"ack_first": True}, "lost"),
    ],
    ids=["stale-settle", "leased-twice", "uncounted", "never-returned", "ack-first"],
)
def test_a_planted_fault_is_found(planted, finding):
    with pytest.raises(BrokenInvariantError, match=finding) as found:
        Search(ordering=Ordering.NONE, faults=2, **planted).run()
    assert " > " in str(found.value), "with the way to it"


def test_an_order_per_user_that_is_not_kept_is_found():
    with pytest.raises(BrokenInvariantError, match="overtook"):
        Search(ordering=Ordering.PER_USER, faults=1, model=LetsOvertakeWhatWaitsForItsRetry).run()
