"""
The way of one parcel to the data plane: its jobs share requests, until it is clear what becomes of each.

An answer that refuses a request (400, 413, other final 4xx, rejections without names) may be about a part of it. It has the
parcel cut between jobs, and again, until a job stands alone; that one is then sent as any lone job is (``attempt``). An answer
that names events is about their jobs.
Where there is no such answer, the failure is one of all the jobs in the request, and what is left of the parcel is not sent.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

from eventspool._delivery.attempt import Delivery, Outcome, deliver, now_text, read_answer
from eventspool._delivery.body import make_body
from eventspool._delivery.verdict import Verdict, judge
from eventspool._envelope import EnvelopeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eventspool._claim import ClaimedJob
    from eventspool._delivery.transport import Transport
    from eventspool._delivery.verdict import DeliveryResult

__all__ = ["Report", "deliver_together", "give_back"]


@dataclass(frozen=True, slots=True)
class Report:
    """
    What became of some jobs of a parcel.

    Args:
        outcomes: Of each of these jobs. They were in one last request, or in none: all say the same of the data plane.
        requests: How each request ended that was made for them, and how many seconds it took.
        refused_bytes: Size, before compression, of a body that the data plane found too large; 0 where there was none.
        taken_bytes: Size of one that several jobs shared and that it took in, whatever it said of single events.
    """

    outcomes: tuple[Outcome, ...]
    requests: tuple[tuple[str, float], ...] = ()
    refused_bytes: int = 0
    taken_bytes: int = 0


def give_back(jobs: Sequence[ClaimedJob]) -> Report:
    """Return the report of jobs that were not sent."""
    return Report(
        tuple(Outcome(job.id, counts=False, interrupted=True, progress=job.progress) for job in jobs)
    )


def deliver_together(
    jobs: Sequence[ClaimedJob], transport: Transport, *, gzip: bool, is_stopping: Callable[[], bool]
) -> Iterator[Report]:
    """
    Send *jobs* and yield what becomes of them: each job is in one report, which comes as soon as that is clear.

    Args:
        jobs: Jobs under our lease, in their order.
        transport: The way to the data plane.
        gzip: Compress bodies.
        is_stopping: Asked before each request whether no further one is to begin.
    """
    spans = _open(jobs)
    while spans:
        span = spans.pop(0)
        if len(span) == 1:
            outcome = deliver(span[0].job, transport, gzip=gzip, is_stopping=is_stopping)
            # Requests that it shared before have been reported.
            yield Report((outcome,), tuple(outcome.requests))
            goes_on = outcome.delivered or outcome.failure is not None
        elif is_stopping():
            spans.insert(0, span)
            break
        else:
            request = _Shared(span, transport, gzip)
            spans[0:0] = request.halves
            yield request.report
            goes_on = request.goes_on
        if not goes_on:
            break
    if spans:
        yield give_back([delivery.job for span in spans for delivery in span])


def _open(jobs: Sequence[ClaimedJob]) -> list[list[Delivery]]:
    """Return *jobs* as spans that may share a request. One that cannot be opened is a span of its own."""
    spans: list[list[Delivery]] = []
    shares = False
    for job in jobs:
        delivery = Delivery(job)
        try:
            is_open = delivery.open() is None and not job.progress and delivery.envelope.events > 0
        except Exception:  # noqa: BLE001 - whatever it is, this one will meet it again when it is sent alone
            is_open = False
        if shares and is_open:
            spans[-1].append(delivery)
        else:
            spans.append([delivery])
        shares = is_open
    return spans


class _Shared:
    """One request for the jobs of *span*, and what it has come to."""

    def __init__(self, span: list[Delivery], transport: Transport, gzip: bool) -> None:  # noqa: FBT001
        self._span = span
        self.halves: list[list[Delivery]] = []
        """The same jobs in smaller spans, where it is not clear yet what becomes of them."""
        self.goes_on = True
        """The data plane works, so that what is left may be sent."""
        self.report = Report(())
        try:
            body = make_body([delivery.envelope for delivery in span], now_text(), gzip=gzip)
        except Exception:  # noqa: BLE001 - one of them is not what its checksum says, say: alone it will be found
            self.halves = [[delivery] for delivery in span]
            return
        try:
            began = time.monotonic()
            result = transport.send(body, gzip=gzip)
            self._read(result, (result.ending, time.monotonic() - began))
        except Exception as error:  # noqa: BLE001 - a bug on this side must not end the sender, nor lose the jobs
            self.goes_on, self.halves = False, []
            self.report = Report(tuple(each.note_bug(error, companions=self._companions) for each in span))

    @property
    def _companions(self) -> int:
        return len(self._span) - 1

    def _read(self, result: DeliveryResult, request: tuple[str, float]) -> None:
        span = self._span
        ends = list(accumulate(delivery.envelope.events for delivery in span))
        result, rejections = read_answer(result, ends[-1])
        verdict = judge(result)
        outcomes: list[Outcome] = []
        if verdict in (Verdict.RETRY, Verdict.UNAUTHORIZED):
            self.goes_on = False
            outcomes = [delivery.retry(result, companions=self._companions) for delivery in span]
        elif rejections is None or verdict is not Verdict.DELIVERED:
            middle = len(span) // 2
            self.halves = [span[:middle], span[middle:]]
        else:
            starts = (0, *ends)
            outcomes = [
                _conclude(delivery, verdict, result, _cut_out(rejections, start, end))
                for delivery, start, end in zip(span, starts, ends, strict=False)
            ]
        size = sum(delivery.envelope.text_bytes for delivery in span)
        self.report = Report(
            tuple(replace(each, requests=(request,)) for each in outcomes),
            (request,),
            refused_bytes=size if verdict is Verdict.SPLIT else 0,
            taken_bytes=size if verdict is Verdict.DELIVERED else 0,
        )


def _cut_out(rejections: dict[int, str], start: int, end: int) -> dict[int, str]:
    """Return the rejections at the positions from *start* up to *end*, counted from *start*."""
    return {place - start: said for place, said in rejections.items() if start <= place < end}


def _conclude(
    delivery: Delivery, verdict: Verdict, result: DeliveryResult, rejections: dict[int, str]
) -> Outcome:
    """Return the outcome of a job all of whose events the answer is about."""
    try:
        delivery.apply(verdict, result, rejections)
        return delivery.conclude()
    except EnvelopeError as error:
        return delivery.park(error)
