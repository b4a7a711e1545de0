"""
What the slowest hundredth of requests waits for: the handler of ``web``, without a server, its waits measured one by one.

Each variant runs as it is, and once more after ``gc.freeze()``, as a server may call it when it is warm: full collections of
garbage then leave alone what was imported. Their cost is that of the objects that all packages of a process have made.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks.measurement import Bar, Figure, Measurement
from benchmarks.scenarios import web

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.place import Place

NAME = "trace"
TITLE = "What the slowest hundredth of requests waits for, in ms above the median request"
COMPARES = False
FIGURES = (
    Figure("p50_ms", "p50", "ms", "lower"),
    Figure("p99_ms", "p99", "ms", "lower"),
    Figure("collector", "collector", "ms", "lower"),
    Figure("scheduler", "scheduler", "ms", "lower"),
    Figure("interpreter", "interpreter", "ms", "lower"),
    Figure("work", "work", "ms", "lower"),
    Figure("full_collections", "full collections, 1,000 requests", "", "lower"),
    Figure("full_collection_ms", "the longest", "ms", "lower"),
)
FROZEN = ", frozen"


def measure(place: Place, *, rounds: int, quick: bool) -> Iterator[Measurement]:
    """Run all variants side by side, slice by slice in turns."""
    for number in range(rounds):
        chosen = {
            name: o for name, o in web.variants(place).items() if name not in (web.CONTROL, *web.DURABLE)
        }
        frozen = {name + FROZEN: _frozen(options) for name, options in chosen.items()}
        result = web.load(place, "trace", chosen | frozen, quick=quick)
        for name, found in result["variants"].items():
            slices = found["slices"]
            requests = sum(s["requests"] for s in slices)
            figures = {f.name: median(s[f.name] for s in slices) for f in FIGURES[:2]}
            figures |= {f.name: sum(s[f.name] for s in slices) / len(slices) for f in FIGURES[2:6]}
            figures["full_collections"] = web.full_collections(slices)
            figures["full_collection_ms"] = max(s["full_collection_ms"] for s in slices)
            yield Measurement(name, number, figures, {"requests": requests})


def _frozen(options: dict[str, object]) -> dict[str, object]:
    queue = options["queue"]
    if isinstance(queue, dict) and "queue_name" in queue:
        queue = {**queue, "queue_name": "frozen"}
    elif isinstance(queue, dict):
        queue = {**queue, "url": f"{queue['url']}.frozen"}
    return {**options, "queue": queue, "freeze": True}


def judge(measurements: Sequence[Measurement]) -> Sequence[Bar]:  # noqa: ARG001
    """Nothing is demanded of the parts; ``web`` holds their sum."""
    return []
