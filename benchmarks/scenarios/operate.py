"""What operators wait for: an erasure and an export in a long queue of one-event jobs, a command, and the import behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from benchmarks.errors import BenchmarkError
from benchmarks.measurement import Bar, Figure, Measurement
from benchmarks.summary import spreads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.place import Place

NAME = "operate"
TITLE = "Operating a long queue of one-event jobs, and how fast a command starts"
OPTIONS = ("jobs",)
COMPARES = False
FIGURES = (
    Figure("erase_seconds", "erase a user", "s", "lower"),
    Figure("progress_seconds", "until progress shows", "s", "lower"),
    Figure("export_seconds", "export all", "s", "lower"),
    Figure("erase_peak_mb", "peak, erasing", "MB", "lower"),
    Figure("export_peak_mb", "peak, exporting", "MB", "lower"),
    Figure("ms", "time", "ms", "lower"),
    Figure("ratio", "by the line above", "", "lower"),
)
KINDS: dict[Literal["redis", "sqlite"], str] = {"redis": "Redis", "sqlite": "SQLite"}
JOBS, QUICK_JOBS = 1_000_000, 2_000
JOBS_A_USER = 100
MOST_SECONDS = 60.0
PATIENCE_SECONDS = 100.0
"""An erasure or an export that is not done by then counts as one that took so long."""
REPEATS, QUICK_REPEATS = 9, 1
PACKAGES, STATUS = "import click, rich, redis", "eventspool queue status"
"""Whole processes."""
LIBRARY, IMPORT = "the standard library behind import eventspool", "eventspool, the import"
"""Imports in a fresh interpreter."""
MOST_TIMES = {STATUS: 2.0, IMPORT: 1.5}


def measure(place: Place, *, rounds: int, quick: bool, jobs: int | None) -> Iterator[Measurement]:
    """Fill a queue of each kind once. Erase another user, export, and start commands in each round."""
    jobs = jobs or (QUICK_JOBS if quick else JOBS)
    users = max(jobs // JOBS_A_USER, 1)
    urls = {kind: place.queue_url(kind) or "" for kind in KINDS}
    left = {}
    for kind, url in urls.items():
        left[kind] = place.run("fill.py", url, str(jobs), "1", str(users), timeout=3600)["jobs"]
    for number in range(rounds):
        user = number % users
        theirs = len(range(user, jobs, users)) if number < users else 0
        for kind, url in urls.items():
            erased = _operate(place, "erase", url, f"user_{user}", theirs)
            left[kind] = left[kind] - theirs if erased["events"] is not None else None
            exported = _operate(place, "export", url, f"{place.folder}/exported.jsonl", left[kind])
            yield Measurement(_candidate(kind), number, _figures(erased, exported), {"jobs": jobs})
        for candidate, figures in _commands(place, urls["redis"], QUICK_REPEATS if quick else REPEATS):
            yield Measurement(candidate, number, figures)
    place.queue_url("redis")  # a million jobs are not to burden what comes next


def _candidate(kind: Literal["redis", "sqlite"]) -> str:
    return f"eventspool, {KINDS[kind]}"


def _operate(place: Place, what: str, url: str, target: str, wanted: int | None) -> dict[str, Any]:
    """Erase or export. *wanted* is how many events that is, ``None`` where an erasure before was broken off."""
    result = place.run("operate.py", what, url, str(PATIENCE_SECONDS), target)
    events = result["events"]
    if None not in (events, wanted) and events != wanted:
        raise BenchmarkError(f"operate, {what}: {events:,} events of {wanted:,}")
    return result


def _figures(erased: dict[str, Any], exported: dict[str, Any]) -> dict[str, float]:
    progress = erased["progress_seconds"]
    return {
        "erase_seconds": erased["seconds"],
        "progress_seconds": erased["seconds"] if progress is None else progress,
        "export_seconds": exported["seconds"],
        "erase_peak_mb": erased["peak_mb"],
        "export_peak_mb": exported["peak_mb"],
    }


def _commands(place: Place, url: str, repeats: int) -> Iterator[tuple[str, dict[str, float]]]:
    found = place.run("commands.py", str(repeats), url)
    yield PACKAGES, {"ms": found["packages"]}
    yield STATUS, {"ms": found["status"], "ratio": found["status"] / found["packages"]}
    yield LIBRARY, {"ms": found["library"]}
    yield IMPORT, {"ms": found["eventspool"], "ratio": found["eventspool"] / found["library"]}


def judge(measurements: Sequence[Measurement]) -> Sequence[Bar]:
    """See that nobody waits for long."""
    found = spreads(measurements)
    jobs = max((m.notes["jobs"] for m in measurements if "jobs" in m.notes), default=0)
    bars = []
    for kind in KINDS:
        for what in ("erase", "export") if _candidate(kind) in found else ():
            seconds = found[_candidate(kind)][f"{what}_seconds"].median
            done = {"erase": "erasing a user", "export": "exporting all"}[what]
            claim = f"{_candidate(kind)}: {done} takes under {MOST_SECONDS:g} s in {jobs:,} one-event jobs"
            bars.append(Bar(claim, seconds, MOST_SECONDS, seconds < MOST_SECONDS))
    for candidate, above in ((STATUS, PACKAGES), (IMPORT, LIBRARY)):
        if candidate in found:
            ratio, times = found[candidate]["ratio"].median, MOST_TIMES[candidate]
            claim = f"{candidate} takes at most {times:g} times {above}"
            bars.append(Bar(claim, ratio, times, ratio <= times))
    return bars
