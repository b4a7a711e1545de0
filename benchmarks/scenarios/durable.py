"""
Calls that return once their event is stored: what one costs beside a bare commit, and how fast a crowd's events are delivered.

The crowd's events must arrive in the order in which they were stored. The scenario knows of that order what callers can know:
an event whose call had returned before another call began was stored before the other's.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Literal

from benchmarks.errors import BenchmarkError
from benchmarks.measurement import Bar, Figure, Measurement
from benchmarks.sink import read_orders
from benchmarks.summary import spreads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.place import Place

    Kind = Literal["sqlite", "redis"]

NAME = "durable"
TITLE = "Durable calls, beside a bare commit of the same payload"
COMPARES = False
FIGURES = (
    Figure("p50_us", "p50", "µs", "lower"),
    Figure("p99_us", "p99", "µs", "lower"),
    Figure("calls_per_second", "calls/s", "1/s", "higher"),
    Figure("p50_ratio", "p50 by bare", "", "lower"),
    Figure("rate_ratio", "calls/s by bare", "", "higher"),
    Figure("events_per_second", "delivered events/s", "1/s", "higher"),
    Figure("out_of_order", "out of order", "", "lower"),
)
OURS: dict[Kind, str] = {"redis": "eventspool, Redis", "sqlite": "eventspool, SQLite"}
BARE: dict[Kind, str] = {"redis": "redis-py, MULTI … EXEC", "sqlite": "sqlite3, INSERT and COMMIT"}
MOST_TIMES_BARE: dict[Kind, float] = {"redis": 2.0, "sqlite": 1.3}
EVENTS_PER_SECOND = 5_000
DELAY = 0.05
"""Seconds that the data plane takes for an answer while the crowd's events are delivered."""
SLICES, SECONDS = 8, 4.0
QUICK_SLICES, QUICK_SECONDS = 1, 0.3


def measure(place: Place, *, rounds: int, quick: bool) -> Iterator[Measurement]:
    """Measure calls and delivery of each store in each round."""
    slices, seconds = (QUICK_SLICES, QUICK_SECONDS) if quick else (SLICES, SECONDS)
    for number in range(rounds):
        for kind in OURS:
            for candidate, figures in _calls(place, kind, slices):
                yield Measurement(candidate, number, figures)
            yield Measurement(crowd(kind), number, _delivery(place, kind, seconds))


def _eight(kind: Kind) -> str:
    return f"{OURS[kind]}, 8 threads"


def crowd(kind: Kind) -> str:
    """Return what the measurement of twenty threads is called."""
    return f"{OURS[kind]}, 20 threads, answers after 50 ms"


def _calls(place: Place, kind: Kind, slices: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the figures of bare and of durable calls. Ratios are those of slices that followed each other."""
    url = place.queue_url(kind)
    assert url is not None
    place.sink.reset()
    result = place.run("durable.py", "calls", url, place.sink.url, str(slices))
    _check(kind, set(range(result["events"])), place.sink.orders())
    place.sink.reset()
    found = result["slices"]
    for way, candidate in (("bare", BARE[kind]), ("one", OURS[kind]), ("eight", _eight(kind))):
        figures = {f.name: median(s[f.name] for s in found[way]) for f in FIGURES if f.name in found[way][0]}
        pairs = list(zip(found[way], found["bare"], strict=True))
        if way == "one":
            figures["p50_ratio"] = median(ours["p50_us"] / bare["p50_us"] for ours, bare in pairs)
        if way != "bare":
            rates = [ours["calls_per_second"] / bare["calls_per_second"] for ours, bare in pairs]
            figures["rate_ratio"] = median(rates)
        yield candidate, figures


def _delivery(place: Place, kind: Kind, seconds: float) -> dict[str, float]:
    """Return how fast, and in which order, the sink got what the crowd had stored."""
    url = place.queue_url(kind)
    assert url is not None
    place.sink.reset()
    place.sink.delay(DELAY)
    result = place.run("durable.py", "deliver", url, place.sink.url, str(seconds))
    arrived = [order for body in place.sink.bodies() for order in read_orders(body)]
    place.sink.reset()
    spans = {number: (begin, end) for number, begin, end in result["spans"]}
    if result["refused"]:
        raise BenchmarkError(f"durable, {kind}: {result['refused']:,} calls were refused")
    if not result["pending"]:
        _check(kind, set(spans), set(arrived))
    delivered = [spans[order] for order in dict.fromkeys(arrived) if order in spans]
    return {
        **{name: result[name] for name in ("p50_us", "p99_us", "calls_per_second")},
        "events_per_second": len(delivered) / result["seconds"],
        "out_of_order": count_out_of_order(delivered),
    }


def _check(kind: str, stored: set[int], arrived: set[int]) -> None:
    if missing := stored - arrived:
        raise BenchmarkError(f"durable, {kind}: {len(missing):,} of {len(stored):,} events did not arrive")


def count_out_of_order(delivered: Iterable[tuple[int, int]]) -> int:
    """
    Count the events that came too late: an event came before them whose call began only after theirs had returned.

    Args:
        delivered: When the call of each event began and ended, in the order of delivery.
    """
    late = latest_begin = 0
    for begin, end in delivered:
        late += end < latest_begin
        latest_begin = max(latest_begin, begin)
    return late


def judge(measurements: Sequence[Measurement]) -> Sequence[Bar]:
    """Compare calls with bare ones, and deliveries with what is demanded."""
    found = spreads(measurements)
    bars: list[Bar] = []
    for kind, ours in OURS.items():
        if ours not in found:
            continue
        times, ratio = MOST_TIMES_BARE[kind], found[ours]["p50_ratio"].median
        claim = f"{ours}: a durable call's p50 is at most {times:g} times that of {BARE[kind]}"
        bars.append(Bar(claim, ratio, times, ratio <= times))
        if kind == "redis":
            rate = found[_eight(kind)]["rate_ratio"].median
            claim = f"{_eight(kind)}: more durable calls/s than one thread makes with {BARE[kind]}"
            bars.append(Bar(claim, rate, 1.0, rate > 1.0))
        delivered, late = (found[crowd(kind)][name].median for name in ("events_per_second", "out_of_order"))
        claim = f"{crowd(kind)}: at least {EVENTS_PER_SECOND:,} events/s delivered in order"
        bars.append(Bar(claim, delivered, EVENTS_PER_SECOND, delivered >= EVENTS_PER_SECOND))
        bars.append(Bar(f"{crowd(kind)}: the order of delivery is that of storing", late, 0, late == 0))
    return bars
