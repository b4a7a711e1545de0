# ruff: noqa: S101 - these are tests
"""The part of the contract that is about what all processors of a queue know together: of the data plane, and of the rate."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from eventspool._backends.rules import BURST, FAILURES, LIMITED_POLL, PROBE_PERMIT
from eventspool._claim import LIMITED, Claim, ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import (
    LONG,
    SOON,
    BackendFactory,
    claim_soon,
    eventually,
    ids_of,
    listen,
    new_job,
    new_jobs,
    retry,
)
from eventspool._fleet import Trouble

if TYPE_CHECKING:
    from eventspool._backends import Backend

__all__ = ["FleetContract"]

WHY = "the data plane answered 503"
_FOREVER = 600.0


def trouble(
    *, pause: float = _FOREVER, failures: int = 1, retry_after: float = 0.0, is_key_refused: bool = False
) -> Trouble:
    """Return what a processor tells of a failure."""
    return Trouble(WHY, pause, _FOREVER, failures, retry_after, is_key_refused)


def ask(backend: Backend, token: str, limit: int = 9) -> Claim:
    """Ask for jobs."""
    return backend.claim(token, ClaimTerms(limit=limit, visibility_timeout=LONG))


def await_probe(backend: Backend, token: str) -> Claim:
    """Ask until *token* is the probe of all."""

    def probe() -> Claim | None:
        claim = ask(backend, token)
        return claim if claim.is_probe else None

    claim = eventually(probe)
    assert claim is not None, "nobody may probe"
    return claim


class FleetContract:
    """Processors share a breaker and a rate through their queue. Part of ``QueueContract``."""

    # Staying away.

    def test_five_failures_in_a_row_keep_every_processor_away(self, backend: Backend, other: Backend) -> None:
        backend.commit(new_jobs(3))
        for n in range(FAILURES - 1):
            assert backend.hold(f"t{n}", trouble(), is_probe=False) is None
        assert len(ask(other, "u", limit=1).jobs) == 1
        held = other.hold("u", trouble(pause=LONG), is_probe=False)
        assert held is not None
        assert held.why == WHY
        for each in (backend, other):
            claim = ask(each, "v")
            assert (claim.jobs, claim.is_held_back, claim.obstacle) == ((), True, WHY)
            assert claim.wait is not None
            assert 0 < claim.wait <= held.seconds <= 5.0, "whatever the options say, probes come often"

    def test_failures_that_are_told_together_count_as_many(self, backend: Backend) -> None:
        assert backend.hold("t", trouble(failures=FAILURES), is_probe=False)

    def test_a_delivery_by_any_of_them_begins_the_row_anew(self, backend: Backend, other: Backend) -> None:
        jobs = new_jobs(2)
        backend.commit(jobs)
        for _ in range(2):
            assert backend.hold("t", trouble(failures=FAILURES - 1), is_probe=False) is None
            [job] = ask(other, "u", limit=1).jobs
            time.sleep(0.001)  # a delivery at the very microsecond of a failure would say nothing
            assert other.ack([job.id]) == 1
        assert backend.hold("t", trouble(failures=FAILURES), is_probe=False)

    def test_a_good_answer_of_any_of_them_begins_the_row_anew(self, backend: Backend, other: Backend) -> None:
        for _ in range(2):
            assert backend.hold("t", trouble(failures=FAILURES - 1), is_probe=False) is None
            time.sleep(0.001)
            assert other.hold("u", None, is_probe=False) is None

    def test_what_the_data_plane_asks_for_is_asked_of_all_at_once(
        self, backend: Backend, other: Backend
    ) -> None:
        backend.commit(new_jobs(1))
        backend.hold("t", trouble(retry_after=LONG), is_probe=False)
        claim = ask(other, "u")
        assert claim.is_held_back
        assert LONG - SOON < (claim.wait or 0) <= LONG
        assert other.hold("u", None, is_probe=False), "another request, begun before, was still answered"
        assert ask(backend, "t").is_held_back
        longer = backend.hold("t", trouble(retry_after=2 * LONG), is_probe=False)
        assert longer is not None
        assert longer.seconds > LONG

    def test_it_is_asked_of_whoever_delivers_next_in_strict_order(
        self, backend_factory: BackendFactory
    ) -> None:
        fifo = backend_factory(ordering=Ordering.FIFO)
        fifo.commit(new_jobs(1))
        fifo.hold("t", trouble(retry_after=_FOREVER), is_probe=False)
        assert ask(fifo, "u").is_held_back

    def test_a_refused_key_keeps_all_away_unless_others_have_just_delivered(
        self, backend: Backend, other: Backend
    ) -> None:
        jobs = new_jobs(2)
        backend.commit(jobs)
        [job] = ask(other, "u", limit=1).jobs
        started = time.monotonic()
        other.ack([job.id])
        held = backend.hold("t", trouble(is_key_refused=True), is_probe=False)
        assert held is None or time.monotonic() - started > 1, "its key may be another one"
        assert eventually(lambda: backend.hold("t", trouble(is_key_refused=True), is_probe=False))

    def test_what_is_taken_without_being_sent_is_handed_out_all_the_same(self, backend: Backend) -> None:
        backend.commit(new_jobs(2))
        backend.hold("t", trouble(retry_after=LONG), is_probe=False)
        claim = backend.claim(
            "mover", ClaimTerms(limit=2, visibility_timeout=LONG, sending=False, events_per_second=0.01)
        )
        assert len(claim.jobs) == 2
        assert not claim.is_held_back

    def test_the_figures_tell_until_when_all_stay_away_and_why(
        self, backend: Backend, other: Backend
    ) -> None:
        assert (backend.stats().held_until, backend.stats().held_because) == (0.0, "")
        backend.hold("t", trouble(retry_after=LONG), is_probe=False)
        stats = other.stats()
        assert stats.held_until == pytest.approx(time.time() + LONG, abs=SOON)
        assert stats.held_because == WHY
        backend.hold("t", None, is_probe=True)
        assert (other.stats().held_until, other.stats().held_because) == (0.0, "")

    def test_words_of_any_kind_are_kept(self, backend: Backend) -> None:
        why = "the data plane: 'ä:1:2'\nsaid no"
        backend.hold("t", Trouble(why, LONG, LONG, retry_after=LONG), is_probe=False)
        assert ask(backend, "u").obstacle == why
        assert backend.stats().held_because == why

    # Probing.

    @pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
    def test_one_processor_probes_with_the_job_of_fewest_attempts(
        self, backend_factory: BackendFactory, ordering: Ordering
    ) -> None:
        backend = backend_factory(ordering=ordering)
        first, second, third = new_jobs(3)
        backend.commit([first, second, third])
        tried = claim_soon(backend, "t")
        backend.settle("t", [retry(tried[0].id)])
        backend.hold("t", trouble(pause=0.05, failures=FAILURES), is_probe=False)
        claim = await_probe(backend, "t")
        assert ids_of(claim.jobs) == [second.id]
        assert not claim.is_free
        if ordering is Ordering.NONE:
            waiting = ask(backend, "u")
            assert (waiting.jobs, waiting.is_held_back, waiting.obstacle) == ((), True, WHY)
            assert 0 < (waiting.wait or 0) <= PROBE_PERMIT, "it has to hear soon what becomes of the probe"

    def test_a_probe_that_fails_keeps_all_away_for_longer(self, backend: Backend, other: Backend) -> None:
        backend.commit(new_jobs(1))
        backend.hold("t", trouble(pause=0.2, failures=FAILURES), is_probe=False)
        [job] = await_probe(other, "u").jobs
        held = other.hold("u", trouble(pause=0.2), is_probe=True)
        assert held is not None
        assert 0.2 < held.seconds <= 0.4
        other.settle("u", [retry(job.id)])
        assert ask(backend, "t").is_held_back
        assert len(await_probe(backend, "t").jobs) == 1

    def test_what_another_request_hears_meanwhile_changes_nothing(self, backend: Backend) -> None:
        backend.commit(new_jobs(1))
        held = backend.hold("t", trouble(pause=LONG, failures=FAILURES), is_probe=False)
        again = backend.hold("u", trouble(pause=LONG, failures=FAILURES), is_probe=False)
        assert held is not None
        assert again is not None
        assert again.seconds <= held.seconds
        unasked = backend.hold("u", trouble(pause=LONG), is_probe=True)
        assert unasked is not None
        assert unasked.seconds <= held.seconds, "it is not the probe of all"

    def test_an_answered_probe_lets_all_go_on_and_wakes_them(self, backend: Backend, other: Backend) -> None:
        jobs = new_jobs(3)
        backend.commit(jobs)
        backend.hold("t", trouble(pause=0.05, failures=FAILURES), is_probe=False)
        [probed] = await_probe(backend, "t").jobs
        ask(other, "u")
        with ThreadPoolExecutor(1) as pool:
            woken = listen(pool, other)
            backend.ack([probed.id])
            assert backend.hold("t", None, is_probe=True) is None
            assert woken.result() is True
        claim = ask(other, "u")
        assert len(claim.jobs) == 2
        assert not claim.is_held_back
        assert not claim.is_probe

    def test_a_prober_that_leaves_lets_another_one_probe_at_once(
        self, backend: Backend, other: Backend
    ) -> None:
        backend.commit(new_jobs(2))
        backend.hold("t", trouble(pause=0.05, failures=FAILURES), is_probe=False)
        await_probe(backend, "t")
        assert ask(other, "u").is_held_back
        backend.leave("t")
        assert ask(other, "u").is_probe

    def test_a_prober_that_found_no_job_may_ask_again(self, backend: Backend, other: Backend) -> None:
        backend.hold("t", trouble(pause=0.05, failures=FAILURES), is_probe=False)
        assert await_probe(backend, "t").jobs == ()
        assert ask(other, "u").is_held_back
        [job] = new_jobs(1)
        other.commit([job])
        claim = ask(backend, "t")
        assert claim.is_probe
        assert ids_of(claim.jobs) == [job.id]

    # The rate.

    def test_all_processors_together_are_handed_out_what_the_rate_allows(
        self, backend: Backend, other: Backend
    ) -> None:
        rate = 0.5 * LONG  # so that little is earned while the test runs
        backend.commit([new_job(10) for _ in range(60)])
        started = time.monotonic()
        claim = backend.claim("t", ClaimTerms(limit=2, visibility_timeout=LONG, events_per_second=rate))
        assert len(claim.jobs) == 2
        claim = other.claim("u", ClaimTerms(limit=50, visibility_timeout=LONG, events_per_second=rate))
        earned = (time.monotonic() - started) * rate
        assert len(claim.jobs) == 1 or len(claim.jobs) * 10 <= 10 + earned
        assert claim.wait is not None
        assert claim.wait >= LIMITED_POLL
        later = backend.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG, events_per_second=0.01))
        assert (later.jobs, later.obstacle) == ((), LIMITED)
        assert (
            len(
                eventually(
                    lambda: (
                        other.claim(
                            "u", ClaimTerms(limit=1, visibility_timeout=LONG, events_per_second=rate)
                        ).jobs
                    )
                )
            )
            == 1
        )

    def test_each_processor_keeps_to_its_own_rate(self, backend: Backend) -> None:
        backend.commit([new_job(10) for _ in range(4)])
        for jobs in (1, 0):
            claim = backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG, events_per_second=0.01))
            assert len(claim.jobs) == jobs
        assert len(ask(backend, "u").jobs) == 3, "that one has none"

    def test_a_job_larger_than_the_burst_goes_after_a_silence_and_is_paid_for_afterwards(
        self, backend: Backend
    ) -> None:
        rate = 5.0
        big, small = new_job(int(20 * rate * BURST)), new_job()
        backend.commit([big, small])
        claim = backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG, events_per_second=rate))
        assert ids_of(claim.jobs) == [big.id]
        claim = backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG, events_per_second=rate))
        assert claim.jobs == ()
        assert claim.wait is not None
        assert 0.2 * LONG / SOON < claim.wait <= 20 * BURST

    def test_an_order_is_kept_at_any_rate(self, backend_factory: BackendFactory) -> None:
        fifo = backend_factory(ordering=Ordering.FIFO)
        jobs = [new_job(10) for _ in range(3)]
        fifo.commit(jobs)
        claim = fifo.claim("t", ClaimTerms(limit=3, visibility_timeout=LONG, events_per_second=20.0))
        assert ids_of(claim.jobs) == ids_of(jobs[:2])
