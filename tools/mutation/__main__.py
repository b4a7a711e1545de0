"""
Mutation testing: change one thing in the package at a time, and see whether a test notices (docs/mutation-testing.md).

    ./run mutation                            every target, a sample of each
    ./run mutation --only breaker --all       all mutants of the files whose path holds "breaker"
    ./run mutation --only sqlite --sample 50 --seed 2 --jobs 2
    ./run mutation --results FILE             and then, with new tests, the survivors once more:
    ./run mutation --again FILE
"""

from __future__ import annotations

import argparse
import atexit
import json
import random
import sys
import tomllib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from laboratory import Baseline, Laboratory, Outcome
from python_operators import mutate_python
from targets import TARGETS, Target
from text_operators import mutate_lua

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mutant import Mutant

_ROOT = Path(__file__).resolve().parents[2]
_REQUIRED = 0.9
_HEAD = """| Target | Mutants | Tried | Equivalent, not tried | Killed | Survived | Rate |
|---|---:|---:|---:|---:|---:|---:|
"""


def main() -> int:
    """Try the mutants, show what survived and a table. 1 where fewer than nine of ten were killed somewhere."""
    options = _options()
    laboratory = Laboratory(options.root)
    atexit.register(laboratory.close)
    rows, below = [], False
    for target in TARGETS:
        if options.only and not any(word in target.path for word in options.only):
            continue
        mutants = _mutants(target, laboratory.package)
        chosen = _choose(mutants, laboratory.package, options)
        tried = [m for m in chosen if (m.path, *m.was_and_becomes(laboratory.package)) not in _equivalents()]
        if not tried:
            continue
        killed = survived = 0
        for mutant, outcome in _try_out(target, tried, laboratory, options):
            was, becomes = mutant.was_and_becomes(laboratory.package)
            if options.results:
                line = {"path": mutant.path, "was": was, "becomes": becomes, **asdict(outcome)}
                with options.results.open("a") as file:
                    file.write(json.dumps(line) + "\n")
            if outcome.status in ("killed", "timeout"):
                killed += 1
            else:
                survived += 1
                _say(f"{outcome.status}: {mutant.path}:{mutant.lines[0]}\n  - {was}\n  + {becomes}\n")
        rate = killed / len(tried)
        below = below or rate < _REQUIRED
        left_out = len(chosen) - len(tried)
        counts = (len(mutants), len(tried), left_out, killed, survived, f"{100 * rate:.1f} %")
        rows.append(f"| `{target.path}` | {' | '.join(map(str, counts))} |\n")
        _say(rows[-1])
    _say("\n" + _HEAD + "".join(rows))
    return int(below)


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="./run mutation", description=__doc__, formatter_class=form)
    add = parser.add_argument
    add("--only", action="append", default=[], metavar="WORD", help="targets whose path holds WORD")
    add("--sample", type=int, default=150, help="most mutants of one target (default: 150)")
    add("--all", action="store_true", help="no sample")
    add("--seed", type=int, default=0, help="of the sample (default: 0)")
    add("--jobs", type=int, default=1, help="processes (default: 1)")
    add(
        "--results", type=Path, metavar="FILE", help="append each mutant's outcome to FILE, as a line of JSON"
    )
    add("--again", type=Path, metavar="FILE", help="try what FILE says survived, and nothing else")
    add("--root", type=Path, default=_ROOT, help="the checkout (default: this one)")
    return parser.parse_args()


def _mutants(target: Target, package: Path) -> list[Mutant]:
    path = package / target.path
    if path.is_dir():
        scripts = sorted(path.glob("*.lua"))
        return [m for each in scripts for m in mutate_lua(f"{target.path}/{each.name}", each.read_bytes())]
    return mutate_python(target.path, path.read_bytes())


def _choose(mutants: list[Mutant], package: Path, options: argparse.Namespace) -> list[Mutant]:
    if options.again:
        outcomes = map(json.loads, options.again.read_text().splitlines())
        last = {(o["path"], o["was"], o["becomes"]): o["status"] for o in outcomes}
        alive = {key for key, status in last.items() if status not in ("killed", "timeout")}
        return [m for m in mutants if (m.path, *m.was_and_becomes(package)) in alive]
    if options.all or len(mutants) <= options.sample:
        return mutants
    places = random.Random(options.seed).sample(range(len(mutants)), options.sample)
    return [mutants[place] for place in sorted(places)]


@cache
def _equivalents() -> frozenset[tuple[str, str, str]]:
    """Return the mutants that no test can or need notice; the file gives a reason for each."""
    groups = tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text())["group"]
    return frozenset((g["path"], *pair) for g in groups for pair in g["mutants"])


def _try_out(
    target: Target, mutants: list[Mutant], laboratory: Laboratory, options: argparse.Namespace
) -> Iterator[tuple[Mutant, Outcome]]:
    baseline = _observe(laboratory.root, target.tests)
    if options.jobs == 1:
        for mutant in mutants:
            yield mutant, laboratory.try_out(mutant, target.tests, baseline)
        return
    with ProcessPoolExecutor(options.jobs, get_context("fork")) as pool:
        arguments = ((laboratory, m, target.tests, baseline) for m in mutants)
        yield from zip(mutants, pool.map(_try_out_elsewhere, arguments), strict=True)


@cache
def _observe(root: Path, tests: tuple[str, ...]) -> Baseline:
    laboratory = Laboratory(root)
    try:
        return laboratory.observe(tests, [target.path for target in TARGETS if target.tests == tests])
    finally:
        laboratory.close()


@cache
def _worker_laboratory(root: Path, parent: Path) -> Laboratory:
    """Return this process's own copy; it goes with that of the parent."""
    return Laboratory(root, Path(mkdtemp(dir=parent)))


def _try_out_elsewhere(arguments: tuple[Laboratory, Mutant, tuple[str, ...], Baseline]) -> Outcome:
    parent, mutant, tests, baseline = arguments
    return _worker_laboratory(parent.root, parent.folder).try_out(mutant, tests, baseline)


if __name__ == "__main__":
    sys.exit(main())
