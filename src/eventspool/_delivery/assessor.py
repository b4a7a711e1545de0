"""What the outcome of an attempt means: for the breaker, for the job, and for people who ask what is wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from eventspool._delivery.attempt import fail_rest
from eventspool._guest.log import Log
from eventspool._guest.throttle import Throttle
from eventspool._job import Settlement, SettlementKind
from eventspool._retry import compute_backoff, is_exhausted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eventspool._claim import ClaimedJob
    from eventspool._config import JobOpts
    from eventspool._delivery.attempt import Outcome
    from eventspool._delivery.breaker import Breaker
    from eventspool._delivery.fleet import Fleet
    from eventspool._delivery.flights import Flight
    from eventspool._delivery.parcel import Packer
    from eventspool._delivery.sharing import Report
    from eventspool._exceptions import QueueError
    from eventspool._heartbeat import Heartbeat

__all__ = ["Assessor"]

_log = Log("eventspool")

_RETRIES: Final = 1.5
_UNREAD_SECONDS: Final = 10.0
"""A batch that no key opens is tried again after ``backoff_max`` at most: until well after that the key is taken for wrong."""
_LONGEST_PAUSE: Final = 2.0
"""Most seconds for which a queue that is away is left alone. A failover takes two to five."""


class Assessor:
    """
    Assesses outcomes. One thread's own.

    Args:
        opts: How often and how patiently a job is tried.
        breaker: Told of each outcome.
        fleet: Told of those that all processors of the queue are to know of.
        packer: Told how each request ended that jobs shared.
        heartbeat: Where requests and the last error are noted.
        jitter: Draws from [0, 1).
    """

    def __init__(
        self,
        opts: JobOpts,
        breaker: Breaker,
        fleet: Fleet,
        packer: Packer,
        heartbeat: Heartbeat,
        jitter: Callable[[], float],
    ) -> None:
        self._opts = opts
        self._breaker = breaker
        self._fleet = fleet
        self._packer = packer
        self._heartbeat = heartbeat
        self._jitter = jitter
        self._throttle = Throttle(_log)
        self.trouble = ""
        """What the data plane last answered, or what is wrong with the queue; "" where all is well."""
        self.is_key_refused = False
        """The data plane refused the write key, and has not answered otherwise since."""
        self._failures = 0  # of the queue, in a row
        self.retried = 0
        """Attempts that ended in a retry."""

    def hear(self, report: Report) -> None:
        """Note how requests ended."""
        self._heartbeat.add(report.requests)
        if report.taken_bytes:
            self._packer.note_taken(report.taken_bytes)
        if report.refused_bytes:
            self._packer.note_too_large(report.refused_bytes)

    def judge(self, outcomes: Sequence[Outcome], flights: Sequence[Flight], now: float) -> bool:
        """
        Tell the breaker, and the packer, what *outcomes* say of the data plane, and the log where it is not well.

        Args:
            outcomes: Of an attempt at a job, or at several that shared a request: then all say the same.
            flights: The jobs. Of what they were tried before, the least counts; a probe is alone.
            now: The moment, of the monotonic clock.

        Returns:
            Whether a failure counts against the job. One of a shared request does not: it may be the fault of a companion.
        """
        outcome, probe = outcomes[0], flights[0].probe
        counts = outcome.counts and not outcome.companions
        self._note_company(outcomes)
        was_open = self._breaker.is_open
        if outcome.answered or outcome.error:
            self.trouble = outcome.error
            self.is_key_refused = outcome.unauthorized
        if outcome.reason == "encrypted":
            until = now + _RETRIES * self._opts.backoff_max + _UNREAD_SECONDS
            self._heartbeat.note_unreadable(outcome.reason, until)
            self._throttle.error("%s: check encryption_key. It is kept", outcome.error)
        if outcome.interrupted:
            if probe:
                self._breaker.cancel_probe()
        elif outcome.answered:
            self._breaker.record_success(now, probe=probe)
            self._fleet.note_answer(was_open=was_open, probe=probe)
            if was_open and not self._breaker.is_open:
                _log.info("the data plane works again")
        else:
            excused = not self._breaker.record_failure(
                now,
                self._jitter(),
                probe=probe,
                attempts=min(flight.job.attempts for flight in flights),
                retry_after=outcome.retry_after,
                unauthorized=outcome.unauthorized,
            )
            self._fleet.note_failure(outcome, probe=probe)
            counts = counts and not excused and not (probe and self._fleet.probe_is_free)
            self._warn(outcome)
        return counts

    def _note_company(self, outcomes: Sequence[Outcome]) -> None:
        """Let more jobs share a request after an answer, and fewer after a failure."""
        if outcomes[0].throttled:
            self._packer.note_throttled([outcome.job_id for outcome in outcomes])
        elif outcomes[0].companions:
            self._packer.note_failure([outcome.job_id for outcome in outcomes])
        elif outcomes[0].answered:
            self._packer.note_answer([outcome.job_id for outcome in outcomes])

    def _warn(self, outcome: Outcome) -> None:
        if outcome.unauthorized:
            self._throttle.error(
                "delivery is PAUSED: %s; check the write key. Every event is kept", outcome.error
            )
        elif self._breaker.is_open:
            self._throttle.warning("delivery is held up: %s; probing until it works again", outcome.error)
        elif outcome.error:
            self._throttle.warning("a delivery failed: %s; it is tried again, nothing is lost", outcome.error)

    def settle(self, job: ClaimedJob, outcome: Outcome, *, counts: bool, draw: float) -> Settlement:
        """
        Return how the lease of a job ends that was not delivered.

        Args:
            job: The job.
            outcome: Of an attempt at it.
            counts: The failure costs the job an attempt.
            draw: From [0, 1), for the pause. Jobs that shared a request are given the same, so that they come due together.
        """
        if outcome.failure is not None:
            # The answer of the data plane may quote events, so it stays with the batch.
            self._heartbeat.last_error = f"a batch failed: {outcome.failure.reason}"
            return Settlement(job.id, SettlementKind.FAIL, failure=outcome.failure)
        self._heartbeat.last_error = outcome.error or self._heartbeat.last_error
        attempts = job.attempts + 1
        if not outcome.counts:
            return Settlement(job.id, SettlementKind.RELEASE, 0.0, outcome.progress)
        if counts and self._is_exhausted(job, attempts):
            return Settlement(job.id, SettlementKind.FAIL, failure=outcome.give_up(attempts))
        self.retried += 1
        failures = 1 if outcome.companions else attempts
        delay = compute_backoff(
            failures, self._opts.backoff_initial, self._opts.backoff_max, draw, outcome.retry_after
        )
        kind = SettlementKind.RETRY if counts else SettlementKind.RELEASE
        return Settlement(job.id, kind, delay, outcome.progress)

    def give_up_stalled(self, job: ClaimedJob) -> Settlement | None:
        """Return how the lease of a job ends that no processor gave back, again and again: perhaps it kills them."""
        if not (job.stalled and self._is_exhausted(job, job.attempts)):
            return None
        error = f"{job.attempts} attempts did not come back"
        failure = fail_rest("stalled", error, job.payload, job.progress)
        return Settlement(job.id, SettlementKind.FAIL, failure=failure)

    def draw(self) -> float:
        """Draw from [0, 1)."""
        return self._jitter()

    @property
    def is_queue_away(self) -> bool:
        """The queue has failed, and not answered since."""
        return self._failures > 0

    def note_outage(self, error: QueueError) -> float:
        """Note that the queue has failed. Return for how many seconds it is left alone."""
        self._failures += 1
        self.trouble = self._heartbeat.last_error = str(error)
        self._throttle.warning("the queue is not available (%s); nothing is lost, trying again", error)
        return compute_backoff(self._failures, 0.2, _LONGEST_PAUSE, 0.5 + self._jitter() / 2)

    def note_queue_works(self) -> None:
        """Note that the queue has answered."""
        if self._failures:
            self._failures, self.trouble = 0, ""

    def _is_exhausted(self, job: ClaimedJob, attempts: int) -> bool:
        age = time.time() - job.created_at
        return is_exhausted(attempts, self._opts.max_attempts, age, self._opts.retry_for)
