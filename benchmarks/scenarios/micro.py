"""What eventspool's hot functions cost, one by one: where to look when a throughput falls."""

from __future__ import annotations

import gc
from collections import deque
from dataclasses import dataclass
from functools import partial
from statistics import median
from timeit import Timer
from typing import TYPE_CHECKING, Any

from benchmarks.errors import BenchmarkError
from benchmarks.event import CONTEXT, EVENT, USER, varied_properties
from benchmarks.measurement import Bar, Figure, Measurement
from eventspool import Client
from eventspool._backends.memory import MemoryBackend
from eventspool._buffering.batch import count_fitting
from eventspool._claim import ClaimTerms
from eventspool._envelope import open_envelope, seal
from eventspool._events.clock import new_message_id, now_text
from eventspool._events.event import EventEncoder
from eventspool._job import NewJob, new_job_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.place import Place

NAME = "micro"
TITLE = "eventspool's hot functions, one call"
FIGURES = (Figure("us_per_call", "µs a call", "µs", "lower"),)

REPEATS = 25
"""Short repeats, of which the median is one round's figure: what interrupts one of them does not count."""
BATCH_EVENTS = 500
"""Events where a batch is concerned: about 240 kB, as under load."""
NOW = "2026-11-23T17:26:00.123Z"


@dataclass(frozen=True, slots=True)
class Function:
    """
    A function to measure.

    Args:
        name: What it is called in the results.
        prepare: Given a number of calls, returns what can be called so often. Used afresh for each repeat.
        calls: Calls a repeat: a few milliseconds.
        worked: Whether a call's result shows that it did its work.
    """

    name: str
    prepare: Callable[[int], Callable[[], object]]
    calls: int
    worked: Callable[[Any], bool] = bool


def _encoded(events: int) -> list[bytes]:
    encoder = EventEncoder()
    return [encoder.track(USER, EVENT, properties, CONTEXT)[0] for properties in varied_properties(events)]


def _each(function: Callable[..., object], arguments: Sequence[object]) -> Callable[[], object]:
    """Return what calls *function* with the next of *arguments*, at no more than the cost of a C call."""
    return map(function, arguments).__next__


def _encode(_: int) -> Callable[[], object]:
    return partial(EventEncoder().track, USER, EVENT, varied_properties(1)[0], CONTEXT)


def _put(calls: int) -> Callable[[], object]:
    client = Client("write-key", max_internal_queue_size=calls, flush_at=calls)
    return partial(client._beginning._make().buffer.put, _encoded(1)[0])  # noqa: SLF001 - made as a client does; nothing is started


def _fill(calls: int) -> Callable[[], object]:
    events = _encoded(BATCH_EVENTS)
    return _each(lambda waiting: count_fitting(waiting, 1 << 40), [deque(events) for _ in range(calls)])


def _seal(_: int) -> Callable[[], object]:
    return partial(seal, _encoded(BATCH_EVENTS))


def _open(_: int) -> Callable[[], object]:
    return partial(open_envelope, seal(_encoded(BATCH_EVENTS)))


def _body(_: int) -> Callable[[], object]:
    return partial(open_envelope(seal(_encoded(BATCH_EVENTS))).body, NOW, gzip=True)


def _jobs(calls: int) -> list[NewJob]:
    payload = seal(_encoded(20))
    return [NewJob(new_job_id(), payload, 20) for _ in range(calls)]


def _stored(calls: int) -> tuple[MemoryBackend, list[NewJob]]:
    backend, jobs = MemoryBackend(), _jobs(calls)
    backend.open()
    backend.commit(jobs)
    return backend, jobs


def _commit(calls: int) -> Callable[[], object]:
    backend = MemoryBackend()
    backend.open()
    return _each(backend.commit, [(job,) for job in _jobs(calls)])


def _claim(calls: int) -> Callable[[], object]:
    backend, _ = _stored(calls)
    return partial(backend.claim, "token", ClaimTerms(limit=1, visibility_timeout=600.0))


def _ack(calls: int) -> Callable[[], object]:
    backend, jobs = _stored(calls)
    backend.claim("token", ClaimTerms(limit=calls, visibility_timeout=600.0))
    return _each(backend.ack, [(job.id,) for job in jobs])


FUNCTIONS = (
    Function("EventEncoder.track", _encode, 4000),
    Function("now_text", lambda _: now_text, 20_000),
    Function("new_message_id", lambda _: new_message_id, 20_000),
    Function("Buffer.put", _put, 20_000),
    Function(f"count_fitting, {BATCH_EVENTS} events", _fill, 100),
    Function(f"seal, {BATCH_EVENTS} events", _seal, 10),
    Function(f"open_envelope, {BATCH_EVENTS} events", _open, 400),
    Function(f"Envelope.body, {BATCH_EVENTS} events", _body, 400),
    Function("MemoryBackend.commit, 1 job", _commit, 1000, lambda result: result.accepted == 1),
    Function("MemoryBackend.claim, 1 job", _claim, 1000, lambda claim: len(claim.jobs) == 1),
    Function("MemoryBackend.ack, 1 job", _ack, 1000),
)


def measure(place: Place, *, rounds: int, quick: bool) -> Iterator[Measurement]:  # noqa: ARG001 - needs no place
    """Measure every function in each round, in this process."""
    repeats = 3 if quick else REPEATS
    for number in range(rounds):
        for function in FUNCTIONS:
            gc.collect()
            costs = [_time(function) for _ in range(repeats)]
            notes = {"calls": function.calls, "repeats": repeats, "fastest_us": min(costs)}
            yield Measurement(function.name, number, {"us_per_call": median(costs)}, notes)


def _time(function: Function) -> float:
    """Return microseconds a call, some 0.03 of which are the loop's. No garbage is collected meanwhile."""
    call = function.prepare(function.calls + 1)
    seconds = Timer(call).timeit(function.calls)
    if not function.worked(call()):
        raise BenchmarkError(f"micro, {function.name}: does not do its work")
    return seconds / function.calls * 1e6


def judge(measurements: Sequence[Measurement]) -> Sequence[Bar]:  # noqa: ARG001
    """Nothing is demanded of single functions; ``benchmarks.instructions`` holds ``track()``."""
    return []
