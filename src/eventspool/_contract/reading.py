# ruff: noqa: S101 - these are tests
"""The part of the contract by which operators read whole queues: page by page, while jobs come, change and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from eventspool._backends.rules import READ_BYTES
from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import (
    LONG,
    BackendFactory,
    bury,
    claim_soon,
    drain,
    fail,
    ids_of,
    new_job,
    new_jobs,
    release,
    retry,
    rewrite,
)
from eventspool._job import JobState, Rewrite

if TYPE_CHECKING:
    from eventspool._backends import Backend

__all__ = ["ReadContract"]

MANY = 2100
"""Jobs of more than two pages, whatever a backend takes for a page."""
LONE = ("\ud800", "a\udfff", "\udc80\ud800")
"""Ids that UTF-8 cannot hold, so that no store has such a job."""


def scan(backend: Backend) -> list[str]:
    """Return what all calls of a scan return."""
    found, cursor = backend.scan()
    while cursor:
        page, cursor = backend.scan(cursor)
        found += page
    return found


class ReadContract:
    """Operators read queues that others use meanwhile. Part of ``QueueContract``."""

    # Payloads.

    def test_payloads_are_read_in_bulk_and_in_every_state(self, backend: Backend) -> None:
        [failed] = bury(backend, 1)
        leased, waiting = new_jobs(2)
        backend.commit([leased])
        claim_soon(backend, "t")
        backend.commit([waiting])
        ids = [waiting.id, "never-stored", failed, leased.id]
        found = backend.payloads(ids)
        assert list(found) == ids
        assert found == {job_id: backend.payload(job_id) for job_id in ids}
        assert (found[waiting.id], found["never-stored"]) == (waiting.payload, None)
        assert backend.payloads([]) == {}

    def test_a_call_reads_as_many_payloads_as_its_bound_holds_and_at_least_one(
        self, backend: Backend
    ) -> None:
        third = "x" * (READ_BYTES // 3)
        jobs = [new_job(filling=filling) for filling in (third, third, third, 4 * third, "", "")]
        backend.commit(jobs)
        ids, parts = ids_of(jobs), []
        while ids:
            found = backend.payloads(ids)
            assert list(found) == ids[: len(found)]
            parts.append(len(found))
            assert [found[job.id] for job in jobs if job.id in found] == [
                job.payload for job in jobs if job.id in found
            ]
            ids = ids[len(found) :]
        assert parts == [2, 1, 1, 2]

    def test_the_payloads_of_many_jobs_are_read_over_several_calls(self, backend: Backend) -> None:
        ids = ids_of(jobs := new_jobs(MANY))
        backend.commit(jobs)
        found: dict[str, bytes | None] = {}
        while len(found) < len(ids):
            found |= backend.payloads(ids[len(found) :])
        assert found == {job.id: job.payload for job in jobs}

    # Scans.

    def test_a_scan_finds_every_job_in_every_state(self, backend: Backend) -> None:
        assert scan(backend) == []
        [failed] = bury(backend, 1)
        ids = ids_of(jobs := new_jobs(MANY))
        backend.commit(jobs)
        [leased, delayed] = claim_soon(backend, "t", limit=2)
        backend.settle("t", [retry(delayed.id, delay=LONG)])
        backend.ack(ids[-1:])
        found = scan(backend)
        assert set(found) == {failed, *ids[:-1]}
        assert {leased.id, delayed.id} <= set(found)

    @pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
    def test_a_scan_misses_no_job_that_changes_its_state_meanwhile(
        self, backend_factory: BackendFactory, ordering: Ordering
    ) -> None:
        backend = backend_factory(ordering=ordering)
        ids = ids_of(jobs := new_jobs(MANY))
        backend.commit(jobs)
        found, cursor = backend.scan()
        steps = 0
        while cursor:
            claimed = backend.claim("t", ClaimTerms(limit=400, visibility_timeout=LONG)).jobs
            ends = [
                [fail(job.id), release(job.id), retry(job.id, delay=LONG)][n % 3 if steps else 0]
                for n, job in enumerate(claimed)
            ]
            backend.settle("t", ends)
            backend.replay(ids[:200])
            backend.expedite(ids)
            page, cursor = backend.scan(cursor)
            found += page
            steps += 1
        assert set(found) == set(ids)

    # Lists.

    @pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
    @pytest.mark.parametrize("state", JobState)
    @pytest.mark.parametrize("what", ["goes", "moves"])
    def test_a_list_goes_on_where_its_last_job_was(
        self, backend_factory: BackendFactory, ordering: Ordering, state: JobState, what: str
    ) -> None:
        """Were it begun anew, the list of a busy queue would not end; were it gone on behind the job, others were left out."""
        backend = backend_factory(ordering=ordering)
        ids = self._seven(backend, state)
        page = backend.jobs(state, limit=3)
        assert ids_of(page) == ids[:3]
        last = page[-1]
        if what == "goes":
            assert backend.ack([last.id]) == 1
        elif state is JobState.WAITING:  # for FIFO the first one is claimed, too, so that they go in order
            claimed = claim_soon(backend, "u", limit=3)
            assert last.id in ids_of(claimed)
            backend.settle("u", [release(job.id) for job in claimed[:2]])
        elif state is JobState.DELAYED:
            assert backend.expedite([last.id]) == 1
        elif state is JobState.LEASED:
            assert backend.renew("t", [last.id], visibility_timeout=10 * LONG) == set()
        else:
            assert backend.replay([last.id]) == 1
        rest: list[str] = []
        while page := backend.jobs(state, limit=3, after=last):
            rest += ids_of(page)
            last = page[-1]
            assert len(rest) < 20, "the list does not end"
        assert [job_id for job_id in ids[3:] if job_id not in rest] == []
        assert not set(rest) & set(ids[:2]) or what == "moves", "the list was begun anew"

    @staticmethod
    def _seven(backend: Backend, state: JobState) -> list[str]:
        """Bring seven jobs into *state*, one after the other; return their ids in the order of its list."""
        if state is JobState.FAILED:
            return bury(backend, 7)
        ids = []
        for _ in range(7):
            backend.commit(jobs := new_jobs(1))
            ids += ids_of(jobs)
        if state is JobState.LEASED:
            claim_soon(backend, "t", limit=7)
            for n, job_id in enumerate(ids):
                backend.renew("t", [job_id], visibility_timeout=LONG + n)
        if state is JobState.DELAYED:
            claim_soon(backend, "t", limit=7)
            backend.settle("t", [retry(job_id, delay=LONG + n) for n, job_id in enumerate(ids)])
            backend.leave("t")
        return ids

    # Ids that there cannot be.

    def test_an_id_that_is_no_text_is_unknown(self, backend: Backend) -> None:
        job = new_job()
        backend.commit([job])
        claim_soon(backend, "t")
        ids = [*LONE, job.id]
        assert backend.lookup(ids) == {job.id: None}
        assert backend.payloads(ids) == {**dict.fromkeys(LONE), job.id: job.payload}
        assert backend.payload(LONE[0]) is None
        assert backend.settle("t", [release(job_id) for job_id in ids]) == [False, False, False, True]
        assert (backend.expedite(ids), backend.replay(ids), backend.purge(JobState.FAILED, ids)) == (0, 0, 0)
        assert ids_of(backend.jobs(JobState.WAITING, limit=9, after=LONE[0])) == [job.id]
        assert not rewrite(backend, LONE[0], job.payload, b"", 0)
        assert backend.pass_on(LONE) == 0
        assert backend.ack(ids) == 1

    # Rewriting.

    def test_many_payloads_are_replaced_in_one_call_each_for_itself(self, backend: Backend) -> None:
        jobs = [new_job(3) for _ in range(6)]
        small = [new_job(1, filling=str(n)).payload for n in range(6)]
        backend.commit(jobs)
        claim_soon(backend, "t")
        assert rewrite(backend, jobs[1].id, jobs[1].payload, small[0], 1)
        wanted = [Rewrite(job.id, job.payload, small[n], 1, (0, 2)) for n, job in enumerate(jobs)]
        assert backend.rewrite(wanted) == [False, False, True, True, True, True]
        assert backend.rewrite(wanted) == [False] * 6
        assert backend.rewrite([]) == []
        stored = backend.payloads(ids_of(jobs))
        assert list(stored.values()) == [jobs[0].payload, small[0], *small[2:]]
        assert backend.stats().purged_events == 5 * 2
        backend.settle("t", [release(jobs[0].id)])
        delivered = ids_of(drain(backend, "t"))
        backend.ack(delivered)
        fates = backend.lookup(ids_of(jobs))
        assert {job_id: fate and fate.indices for job_id, fate in fates.items()} == {
            job.id: (0, 2) for job in jobs[2:]
        }
