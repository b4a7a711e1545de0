"""
One job's way to the data plane: send it, and where a part is refused, cut the batch until it is clear which events are.

Everything here happens on a sender's thread, under one lease. The result is a plain value; the dispatcher decides what becomes
of the lease.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, assert_never

from eventspool._delivery.body import make_body
from eventspool._delivery.plan import Plan
from eventspool._delivery.verdict import DeliveryResult, UnclearAnswerError, Verdict, judge, parse_rejections
from eventspool._envelope import Cut, Envelope, EnvelopeError, count_events, cut_of, open_envelope, seal
from eventspool._job import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eventspool._claim import ClaimedJob
    from eventspool._delivery.transport import Transport

__all__ = ["Delivery", "Outcome", "deliver", "fail_rest", "now_text", "read_answer"]

_QUOTED = 300
"""Bytes of an answer that are kept, to be quoted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How far a job got. Exactly one of these holds: ``delivered``; ``failure`` is set; or it is to be tried again.

    Args:
        job_id: The job.
        delivered: Every event was taken.
        failure: Every event was settled, and some will never be taken.
        counts: A retry costs an attempt.
        answered: The data plane works: it took or refused events for what they are.
        interrupted: Nothing was learnt of the data plane: we were asked to stop, for example.
        unauthorized: The write key was refused.
        throttled: The data plane asked for fewer requests, which is about no event.
        retry_after: Seconds that the data plane asked for.
        reason: Why the job is given up, should this have been its last attempt.
        error: What went wrong, for people.
        progress: The plan so far, as text.
        purged: Positions, in the batch as first committed, of events that were erased before it was sent.
        companions: Other jobs that shared the request that failed. Then the failure costs no attempt: it may be their fault.
        requests: How each request ended that carried the job (see ``DeliveryResult.ending``), and how many seconds it took.
    """

    job_id: str
    delivered: bool = False
    failure: Failure | None = None
    counts: bool = True
    answered: bool = False
    interrupted: bool = False
    unauthorized: bool = False
    throttled: bool = False
    retry_after: float | None = None
    reason: str = "max_attempts"
    error: str = ""
    progress: str = ""
    purged: tuple[int, ...] = ()
    companions: int = 0
    requests: Sequence[tuple[str, float]] = ()
    _payload: bytes | None = field(default=None, repr=False)
    _status: int | None = None

    def give_up(self, attempts: int) -> Failure:
        """Return the failure of everything that was not delivered, after *attempts* attempts."""
        error = f"given up after {attempts} attempts: {self.error}"
        return fail_rest(self.reason, error, self._payload, self.progress, self._status)


def fail_rest(
    reason: str, error: str, payload: bytes | None, progress: str, status: int | None = None
) -> Failure:
    """
    Return the failure of what a stored batch has still to deliver. Events that were delivered do not come back.

    Args:
        reason: A short word to group by.
        error: One sentence for people.
        payload: The batch.
        progress: How far it got, as text.
        status: The HTTP status, where there was one.
    """
    if progress and payload is not None:
        with contextlib.suppress(EnvelopeError):
            envelope = open_envelope(payload)
            plan = Plan.resume(envelope.events, progress)
            if left := sorted({*plan.unsent(), *plan.rejected}):
                return _fail_part(reason, error, left, envelope.split(), envelope, status)
    return _fail_all(reason, error, count_events(payload or b""), cut_of(payload), status)


def _fail_all(reason: str, error: str, events: int, cut: Cut | None, status: int | None = None) -> Failure:
    """
    Return the failure of every event that a stored batch holds.

    Args:
        reason: A short word to group by.
        error: One sentence for people.
        events: How many it holds.
        cut: Which events of the batch as first committed those are, where others were taken out of it.
        status: The HTTP status, where there was one.
    """
    if cut is None:
        return Failure(reason, error[:500], events, status=status)
    return Failure(reason, error[:500], events, indices=cut.here, status=status, purged=cut.purged)


def deliver(job: ClaimedJob, transport: Transport, *, gzip: bool, is_stopping: Callable[[], bool]) -> Outcome:
    """
    Send *job* alone and return how far it got. Never raises.

    Args:
        job: The job, under our lease.
        transport: The way to the data plane.
        gzip: Compress the body.
        is_stopping: Asked before each request whether no further one is to begin.
    """
    delivery = Delivery(job)
    try:
        outcome = delivery.open() or _send_parts(delivery, transport, gzip, is_stopping)
    except EnvelopeError as error:
        outcome = delivery.park(error)
    except Exception as error:  # noqa: BLE001 - a bug on this side must not end the sender, nor lose the job
        outcome = delivery.note_bug(error)
    return replace(outcome, requests=tuple(delivery.requests))


def _send_parts(
    delivery: Delivery,
    transport: Transport,
    gzip: bool,  # noqa: FBT001
    is_stopping: Callable[[], bool],
) -> Outcome:
    plan = delivery.plan
    while plan.todo:
        if is_stopping():
            return delivery.interrupt()
        body = make_body([delivery.next_part(compress=gzip)], now_text(), gzip=gzip)
        began = time.monotonic()
        result = transport.send(body, gzip=gzip)
        delivery.requests.append((result.ending, time.monotonic() - began))
        start, end = plan.todo[0]
        result, rejections = read_answer(result, end - start)
        verdict = delivery.apply(judge(result), result, rejections)
        if verdict in (Verdict.RETRY, Verdict.UNAUTHORIZED):
            return delivery.retry(result)
    return delivery.conclude()


def read_answer(result: DeliveryResult, events: int) -> tuple[DeliveryResult, dict[int, str] | None]:
    """Return *result* with the beginning of its body, and which of the *events* it rejects (``None``: it does not say)."""
    rejections: dict[int, str] | None = {}
    if judge(result) is Verdict.DELIVERED:
        try:
            rejections = parse_rejections(result.body, events)
        except UnclearAnswerError:
            error = f"{result.who} answered {result.status} with errors that cannot be read"
            result = replace(result, error=error)
    return replace(result, body=result.body[:_QUOTED]), rejections


class Delivery:
    """
    One attempt at one job, and what it has come to so far.

    Args:
        job: The job, under our lease.
    """

    plan: Plan
    envelope: Envelope

    def __init__(self, job: ClaimedJob) -> None:
        self.job = job
        self.requests: list[tuple[str, float]] = []
        """How each request ended that carried this job alone, and how many seconds it took."""
        self._events: list[bytes] | None = None
        self._answered = False
        self._who = "the data plane"
        self._said = ""
        self._status: int | None = None
        self._progress = (
            job.progress
        )  # after the last answer: an error amid the next request must not undo that

    def open(self) -> Outcome | None:
        """Open the payload. Return the outcome where there is none. Raises ``EnvelopeError``."""
        if self.job.payload is None:
            failure = Failure("missing", "the queue lists this batch, but its payload is gone", 0)
            return Outcome(self.job.id, interrupted=True, failure=failure)
        self.envelope = open_envelope(self.job.payload)
        self.plan = Plan.resume(self.envelope.events, self.job.progress)
        return None

    def next_part(self, *, compress: bool) -> Envelope:
        """Return what is to be sent next. Raises ``EnvelopeError``."""
        start, end = self.plan.todo[0]
        if (start, end) == (0, self.plan.events):
            return self.envelope
        if self._events is None:
            self._events = self.envelope.split()
        return open_envelope(seal(self._events[start:end], compress=compress))

    def apply(self, verdict: Verdict, result: DeliveryResult, rejections: dict[int, str] | None) -> Verdict:
        """Carry *verdict* on the part that was sent into the plan, and return it."""
        plan = self.plan
        start, end = plan.todo[0]
        status = result.status or 0
        match verdict:
            case Verdict.DELIVERED:
                if rejections is None:  # the answer does not say which events it rejects: find out
                    self._refuse(result, result.body)
                    plan.halve(status)
                else:
                    if rejections:
                        self._refuse(result, next(iter(rejections.values())).encode(errors="replace"))
                    plan.finish(dict.fromkeys(rejections, status))
            case Verdict.SPLIT | Verdict.BISECT:
                self._refuse(result, result.body)
                plan.halve(status)
            case Verdict.REJECTED:
                self._refuse(result, result.body)
                plan.finish(dict.fromkeys(range(end - start), status))
            case Verdict.RETRY | Verdict.UNAUTHORIZED:
                return verdict
            case _:
                assert_never(verdict)
        self._answered = True
        self._progress = plan.progress if plan.todo else self._progress
        return verdict

    def interrupt(self) -> Outcome:
        """Return the outcome where no further request is to begin."""
        return Outcome(
            self.job.id,
            counts=False,
            interrupted=not self._answered,
            answered=self._answered,
            progress=self.plan.progress,
        )

    def retry(self, result: DeliveryResult, *, companions: int = 0) -> Outcome:
        """Return the outcome where *result* says nothing of single events. *companions*: jobs that shared the request."""
        unauthorized = judge(result) is Verdict.UNAUTHORIZED
        return Outcome(
            self.job.id,
            counts=not unauthorized,
            companions=companions,
            unauthorized=unauthorized,
            throttled=result.status == 429,
            retry_after=result.retry_after,
            error=result.describe(),
            progress=self.plan.progress,
            _payload=self.job.payload,
            _status=result.status,
        )

    def park(self, error: EnvelopeError) -> Outcome:
        """Return the outcome for a payload that cannot be opened."""
        if error.reason == "encrypted":
            # Tried again: another processor may have the key, or the next release of this one.
            return Outcome(
                self.job.id,
                interrupted=True,
                reason=error.reason,
                error=str(error),
                progress=self.job.progress,
                _payload=self.job.payload,
            )
        # Junk, foreign, truncated, newer: parked where an operator sees it, and delivery goes on.
        return Outcome(self.job.id, interrupted=True, failure=Failure(error.reason, str(error), 0))

    def note_bug(self, error: Exception, *, companions: int = 0) -> Outcome:
        """Return the outcome where this side met an *error* that it should not have."""
        return Outcome(
            self.job.id,
            interrupted=True,
            companions=companions,
            error=f"sending met {type(error).__name__}",
            progress=self._progress,
            _payload=self.job.payload,
        )

    def conclude(self) -> Outcome:
        """Return the outcome where every event is settled."""
        job, plan, envelope = self.job, self.plan, self.envelope
        if not plan.rejected:
            purged = envelope.cut.purged if envelope.cut else ()
            return Outcome(job.id, delivered=True, answered=True, purged=purged)
        reason = "too_large" if all(s == 413 for s in plan.rejected.values()) else "rejected"
        # Where nothing was refused in this attempt, something was in an earlier one.
        status = self._status or next(iter(plan.rejected.values()))
        error = f"{self._who} refused it with {status}{self._said}"
        left = sorted(plan.rejected)
        if len(left) == plan.events:
            failure = _fail_all(reason, error, plan.events, envelope.cut, status)
        else:
            events = self._events or envelope.split()
            failure = _fail_part(reason, error, left, events, envelope, status)
        return Outcome(job.id, answered=True, failure=failure)

    def _refuse(self, result: DeliveryResult, said: bytes) -> None:
        """Keep what the data plane said, for the operator who looks at the failed job."""
        text = "".join(c for c in said[:_QUOTED].decode("utf-8", "replace") if c.isprintable()).strip()[:200]
        self._who, self._status = result.who, result.status
        self._said = f": {text}" if text else ""


def _fail_part(
    reason: str, error: str, left: list[int], events: list[bytes], envelope: Envelope, status: int | None
) -> Failure:
    """Return the failure of the *events* at the positions *left*. The others were delivered, and do not come back."""
    if len(left) == len(events):
        return _fail_all(reason, error, len(events), envelope.cut, status)
    rest = (envelope.cut or Cut(b"h" * len(events))).keep(left, Cut.DONE)
    payload = seal([events[i] for i in left], cut=rest, trace=envelope.trace)
    return Failure(reason, error[:500], len(left), payload, rest.here, status, rest.purged)


def now_text() -> str:
    """Return the moment of sending as it stands in a body."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
