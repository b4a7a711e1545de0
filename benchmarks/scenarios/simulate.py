"""
A fleet in virtual time that no machine here could run: 1,000 producers, 32 shards, 1,000,000 events/s, failovers, an outage.

Nothing is measured but the model (``benchmarks.simulation``). The same ``--seed`` gives the same figures; each round takes the
next seed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.measurement import Bar, Figure, Measurement
from benchmarks.simulation import Setup, simulate
from eventspool._config import Ordering
from eventspool._operate.capacity import Load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.place import Place

NAME = "simulate"
TITLE = "Simulated: 1,000 producers, 32 shards, 1,000,000 events/s, 8 failovers, 3 minutes of outage"
COMPARES = False
OPTIONS = ("seed",)
FIGURES = (
    Figure("lost", "lost", "", "lower"),
    Figure("refused", "refused", "", "lower"),
    Figure("events_per_batch", "events a batch", "", "higher"),
    Figure("jobs_per_second", "jobs/s", "1/s", "lower"),
    Figure("utilisation", "busy", "", "lower"),
    Figure("busiest", "busiest shard", "", "lower"),
    Figure("peak_shard_gb", "most memory of a shard", "GB", "lower"),
    Figure("peak_spill_mb", "largest spill file", "MB", "lower"),
    Figure("commit_p99_ms", "commit p99", "ms", "lower"),
    Figure("calm_p99_s", "delivery p99 before the outage", "s", "lower"),
    Figure("latency_p50_s", "delivery p50", "s", "lower"),
    Figure("latency_p99_s", "p99", "s", "lower"),
    Figure("latency_max_s", "longest", "s", "lower"),
    Figure("drain_s", "drained after", "s", "lower"),
)
_LOAD = Load(
    events_per_second=1_000_000,
    producers=1000,
    partitions=32,
    durability="buffered",
    max_bytes=32 * 4_000_000_000,
    max_jobs=100_000_000,
    spill_bytes=1 << 30,
)
_SETUP = Setup(load=_LOAD, seconds=600.0, outage=(60.0, 180.0), failovers=8)
_SMALL_QUEUE = 32 * 256_000_000
# With the default flush rules, order per user makes batches of 8 events here, and the 32 shards cannot carry so many jobs.
CANDIDATES = {
    "no order": _SETUP,
    "no order, spilling": replace(_SETUP, load=replace(_LOAD, max_bytes=_SMALL_QUEUE)),
    "per user, flush_at=1000": replace(
        _SETUP, load=replace(_LOAD, ordering=Ordering.PER_USER, flush_at=1000, flush_interval=2.0)
    ),
    "per user, flush_at=2000": replace(
        _SETUP, load=replace(_LOAD, ordering=Ordering.PER_USER, flush_at=2000, flush_interval=2.0)
    ),
}


def measure(place: Place, *, rounds: int, quick: bool, seed: int | None = None) -> Iterator[Measurement]:  # noqa: ARG001
    """Play every candidate with one seed after the other."""
    for number in range(rounds):
        for name, setup in CANDIDATES.items():
            played = _shorten(setup) if quick else setup
            outcome = simulate(played, (seed or 0) + number)
            whole = outcome.accepted == outcome.delivered + outcome.waiting + outcome.lost
            figures = {
                "lost": float(outcome.lost + outcome.waiting),
                "refused": float(outcome.refused),
                "events_per_batch": outcome.events_per_batch,
                "jobs_per_second": outcome.jobs_per_second,
                "utilisation": outcome.utilisation,
                "busiest": outcome.busiest,
                "peak_shard_gb": outcome.peak_shard_bytes / 1e9,
                "peak_spill_mb": outcome.peak_spill_bytes / 1e6,
                "commit_p99_ms": outcome.commit_p99_ms,
                "calm_p99_s": outcome.calm_p99,
                "latency_p50_s": outcome.latency[0.5],
                "latency_p99_s": outcome.latency[0.99],
                "latency_max_s": outcome.latency[1.0],
            }
            if outcome.drain_seconds is not None:
                figures["drain_s"] = outcome.drain_seconds
            yield Measurement(name, number, figures, {"seed": (seed or 0) + number, "whole": whole})


def _shorten(setup: Setup) -> Setup:
    load = replace(setup.load, events_per_second=20_000, producers=20, partitions=4)
    return replace(setup, load=load, seconds=30.0, outage=(10.0, 5.0), failovers=2)


def judge(measurements: Sequence[Measurement]) -> Sequence[Bar]:
    """See that every event is accounted for, and none lost or refused."""
    missing = sum(m.figures["lost"] + m.figures["refused"] for m in measurements)
    torn = sum(not m.notes["whole"] for m in measurements)
    return [
        Bar("events lost, refused or left: none", missing, 0.0, missing == 0),
        Bar("runs whose events do not add up: none", float(torn), 0.0, torn == 0),
    ]
