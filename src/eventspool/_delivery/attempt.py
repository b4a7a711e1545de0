"""
One job's way to the data plane: send it, and where a part is refused, cut the batch until it is clear what
is.

Everything here happens on a sender's thread, under one lease. The result is a plain value; what becomes of
the lease is the processor's decision.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, assert_never

from eventspool._delivery.plan import Plan
from eventspool._delivery.verdict import DeliveryResult, Verdict, judge, parse_rejections
from eventspool._envelope import Envelope, EnvelopeError, count_events, open_envelope, seal
from eventspool._job import Failure

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from eventspool._delivery.transport import Transport
    from eventspool._job import ClaimedJob

__all__ = ["Outcome", "deliver"]


@dataclass(slots=True)
class Outcome:
    """
    How far a job got. Exactly one of these holds: ``delivered``; ``failure`` is set; or it is to be tried
    again.

    Args:
        job_id: The job.
        delivered: Every event was taken.
        failure: Every event was settled, and some will never be taken.
        counts: A retry costs an attempt.
        answered: The data plane works: it took or refused something for what it was.
        interrupted: Nothing was learnt: we were asked to stop.
        unauthorized: The write key was refused.
        retry_after: Seconds that the data plane asked for.
        reason: Why it is given up, should this have been its last attempt.
        error: What went wrong, for people.
        progress: The plan so far, as text.
        requests: How each request ended (see ``DeliveryResult.ending``), and how many seconds it took.
    """

    job_id: str
    delivered: bool = False
    failure: Failure | None = None
    counts: bool = True
    answered: bool = False
    interrupted: bool = False
    unauthorized: bool = False
    retry_after: float | None = None
    reason: str = "max_attempts"
    error: str = ""
    progress: str = ""
    requests: Sequence[tuple[str, float]] = ()
    _held: int = 0
    _plan: Plan | None = None
    _events: list[bytes] | None = field(default=None, repr=False)
    _status: int | None = None

    def give_up(self, attempts: int) -> Failure:
        """Return the failure of everything that was not delivered, after *attempts* attempts."""
        plan, error = self._plan, f"given up after {attempts} attempts: {self.error}"
        if plan is None or self._events is None:  # never cut: nothing of it was delivered
            return Failure(self.reason, error, self._held, status=self._status)
        left = sorted({*plan.unsent(), *plan.rejected})
        return _fail_part(self.reason, error, left, plan, self._events, self._status)


def deliver(job: ClaimedJob, transport: Transport, *, gzip: bool, stopping: threading.Event) -> Outcome:
    """
    Send *job* and return how far it got. Never raises.

    Args:
        job: The job, under our lease.
        transport: The way to the data plane.
        gzip: Compress the body.
        stopping: When set, no further request is begun.
    """
    delivery = _Delivery(job, transport, gzip, stopping)
    outcome = _run(delivery, job)
    outcome.requests = delivery.requests
    return outcome


def _run(delivery: _Delivery, job: ClaimedJob) -> Outcome:
    try:
        return delivery.run()
    except EnvelopeError as error:
        if error.reason == "encrypted":
            # Tried again: another processor may have the key, or the next release of this one.
            return Outcome(
                job.id,
                interrupted=True,
                reason=error.reason,
                error=str(error),
                progress=job.progress,
                _held=count_events(job.payload or b""),
            )
        # Junk, foreign, truncated, newer: parked where an operator sees it, and delivery goes on.
        return Outcome(job.id, answered=False, interrupted=True, failure=Failure(error.reason, str(error), 0))
    except Exception as error:  # noqa: BLE001 - a bug on this side must not kill the sender, nor lose the job
        return Outcome(
            job.id,
            interrupted=True,
            error=f"sending met {type(error).__name__}",
            progress=job.progress,
            _held=count_events(job.payload or b""),
        )


class _Delivery:
    def __init__(self, job: ClaimedJob, transport: Transport, gzip: bool, stopping: threading.Event) -> None:  # noqa: FBT001
        self._job = job
        self._transport = transport
        self._gzip = gzip
        self._stopping = stopping
        self._events: list[bytes] | None = None
        self._answered = False
        self._said = ""
        self._status: int | None = None
        self.requests: list[tuple[str, float]] = []

    def run(self) -> Outcome:
        job = self._job
        if job.payload is None:
            failure = Failure("missing", "the queue lists this batch, but its payload is gone", 0)
            return Outcome(job.id, interrupted=True, failure=failure)
        envelope = open_envelope(job.payload)
        plan = Plan.resume(envelope.events, job.progress)
        while plan.todo:
            if self._stopping.is_set():
                return Outcome(
                    job.id,
                    counts=False,
                    interrupted=not self._answered,
                    answered=self._answered,
                    progress=plan.progress,
                )
            body = self._part(envelope, plan).body(_now(), gzip=self._gzip)
            began = time.monotonic()
            result = self._transport.send(body, gzip=self._gzip)
            self.requests.append((result.ending, time.monotonic() - began))
            verdict = self._apply(judge(result), result, plan)
            if verdict in (Verdict.RETRY, Verdict.UNAUTHORIZED):
                return Outcome(
                    job.id,
                    counts=verdict is Verdict.RETRY,
                    unauthorized=verdict is Verdict.UNAUTHORIZED,
                    retry_after=result.retry_after,
                    error=result.describe(),
                    progress=plan.progress,
                    _held=plan.events,
                    _plan=plan,
                    _events=self._events,
                    _status=result.status,
                )
        if not plan.rejected:
            return Outcome(job.id, delivered=True, answered=True)
        reason = "too_large" if all(s == 413 for s in plan.rejected.values()) else "rejected"
        error = f"the data plane refused it with {self._status}{self._said}"
        if self._events is None and len(plan.rejected) == plan.events:
            return Outcome(
                job.id, answered=True, failure=Failure(reason, error, plan.events, status=self._status)
            )
        failure = _fail_part(
            reason, error, sorted(plan.rejected), plan, self._events or envelope.split(), self._status
        )
        return Outcome(job.id, answered=True, failure=failure)

    def _part(self, envelope: Envelope, plan: Plan) -> Envelope:
        start, end = plan.todo[0]
        if (start, end) == (0, plan.events):
            return envelope
        if self._events is None:
            self._events = envelope.split()
        return open_envelope(seal(self._events[start:end], compress=self._gzip))

    def _apply(self, verdict: Verdict, result: DeliveryResult, plan: Plan) -> Verdict:
        """Carry *verdict* into *plan*."""
        start, end = plan.todo[0]
        status = result.status or 0
        match verdict:
            case Verdict.DELIVERED:
                refused = parse_rejections(result.body, end - start)
                if refused is None:  # "ok": false, and no word which: find out
                    self._refuse(status, result.body)
                    plan.halve(status)
                else:
                    if refused:
                        self._refuse(status, next(iter(refused.values())).encode(errors="replace"))
                    plan.finish(dict.fromkeys(refused, status))
            case Verdict.SPLIT | Verdict.BISECT:
                self._refuse(status, result.body)
                plan.halve(status)
            case Verdict.REJECTED:
                self._refuse(status, result.body)
                plan.finish(dict.fromkeys(range(end - start), status))
            case Verdict.RETRY | Verdict.UNAUTHORIZED:
                return verdict
            case _:
                assert_never(verdict)
        self._answered = True
        return verdict

    def _refuse(self, status: int, said: bytes) -> None:
        """Keep what the data plane said, for the operator who looks at the failed job."""
        text = "".join(c for c in said[:300].decode("utf-8", "replace") if c.isprintable()).strip()[:200]
        self._status = status
        self._said = f": {text}" if text else ""


def _fail_part(
    reason: str, error: str, left: list[int], plan: Plan, events: list[bytes], status: int | None
) -> Failure:
    """Return the failure of the events at the positions *left*; the others were delivered and do not come back."""
    if len(left) == plan.events:
        return Failure(reason, error[:500], plan.events, status=status)
    payload = seal([events[i] for i in left])
    return Failure(reason, error[:500], len(left), payload, tuple(left), status)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
