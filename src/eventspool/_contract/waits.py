# ruff: noqa: S101 - these are tests
"""The part of the contract that is about waiting for something to claim."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from eventspool._claim import ClaimTerms
from eventspool._contract.tools import LONG, SOON, bury, claim_soon, ids_of, listen, new_job, release

if TYPE_CHECKING:
    from eventspool._backends import Backend

__all__ = ["WaitContract"]


class WaitContract:
    """A wait ends when there may be something to claim, and no ring is missed. Part of ``QueueContract``."""

    def test_a_wait_on_a_quiet_queue_times_out(self, backend: Backend) -> None:
        backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
        started = time.monotonic()
        assert backend.wait(0.15) is False
        assert 0.1 < time.monotonic() - started < SOON

    def test_a_commit_ends_a_wait(self, backend: Backend, other: Backend) -> None:
        for producer in (backend, other):
            backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
            with ThreadPoolExecutor(1) as pool:
                woken = listen(pool, backend)
                started = time.monotonic()
                job = new_job()
                producer.commit([job])
                assert woken.result() is True
                assert time.monotonic() - started < SOON
            backend.ack([job.id])

    @pytest.mark.parametrize("step", ["release", "leave", "replay"])
    def test_what_comes_back_ends_a_wait(self, backend: Backend, other: Backend, step: str) -> None:
        [failed] = bury(backend, 1)
        job = new_job()
        backend.commit([job])
        claim_soon(backend, "t")
        with ThreadPoolExecutor(1) as pool:
            woken = listen(pool, backend)
            started = time.monotonic()
            if step == "release":
                other.settle("t", [release(job.id)])
            elif step == "leave":
                other.leave("t")
            else:
                other.replay([failed])
            assert woken.result() is True
            assert time.monotonic() - started < SOON

    def test_a_commit_before_the_wait_is_not_missed(self, backend: Backend, other: Backend) -> None:
        for producer in (backend, other):
            assert backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs == ()
            job = new_job()
            producer.commit([job])
            started = time.monotonic()
            assert backend.wait(30.0) is True
            assert time.monotonic() - started < SOON
            backend.ack([job.id])

    def test_an_interrupt_ends_a_wait(self, backend: Backend) -> None:
        backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
        started = time.monotonic()
        waiting = threading.Event()

        def wait() -> None:
            waiting.set()
            backend.wait(30.0)

        thread = threading.Thread(target=wait)
        thread.start()
        waiting.wait()
        while thread.is_alive():
            backend.interrupt()
            thread.join(0.05)
        assert time.monotonic() - started < SOON

    def test_a_claim_keeps_to_its_bytes_and_says_that_more_is_due(self, backend: Backend) -> None:
        self._claim_within_bytes(backend)

    def test_a_claim_in_order_keeps_to_its_bytes_and_says_that_more_is_due(self, fifo: Backend) -> None:
        self._claim_within_bytes(fifo)

    def _claim_within_bytes(self, queue: Backend) -> None:
        jobs = [new_job(filling="x" * 1000) for _ in range(4)]
        queue.commit(jobs)
        claim = queue.claim(
            "t", ClaimTerms(limit=9, max_bytes=int(2.5 * len(jobs[0].payload)), visibility_timeout=LONG)
        )
        assert (ids_of(claim.jobs), claim.wait) == (ids_of(jobs[:2]), 0.0)
        queue.ack(ids_of(jobs[:2]))
        claim = queue.claim("t", ClaimTerms(limit=9, max_bytes=1, visibility_timeout=LONG))
        assert (ids_of(claim.jobs), claim.wait) == ([jobs[2].id], 0.0), "one job, however large"
        queue.ack([jobs[2].id])
        assert ids_of(queue.claim("t", ClaimTerms(limit=9, max_bytes=1, visibility_timeout=LONG)).jobs) == [
            jobs[3].id
        ]
