"""The command line: ``python -m torture [--backend redis|sqlite|all] [--seconds 600 | --kills N] [--seed N]``."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from torture import sabotage
from torture.driver import Plan, narrate, play
from torture.processes import HarnessError
from torture.report import as_table
from torture.verdict import LIVENESS_SECONDS

_BACKENDS = ("redis", "sqlite")


def main() -> int:
    """Play what is asked for. 0: everything held; 1: it did not, or the run proved too little; 2: it could not be played."""
    options = _parse()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 30)
    if options.backend == "all":
        return max([_play_apart(backend, options.seed) for backend in _BACKENDS])
    plan = Plan(
        backend=options.backend,
        seconds=options.seconds,
        seed=options.seed,
        kills=options.kills,
        only=tuple(filter(None, options.only.split(","))),
        kill_rate=options.kill_rate,
        pause=options.pause,
        stretch=options.stretch,
        in_order=options.in_order,
        sabotage=options.sabotage,
        liveness=options.liveness,
    )
    try:
        figures = _play(plan, quiet=options.quiet)
    except HarnessError as error:
        narrate(f"the harness could not go on: {error}")
        return 2
    if options.json:
        with Path(options.json).open("a") as file:
            file.write(json.dumps(figures) + "\n")
    return 0 if figures["verdict"]["passed"] else 1


def _play_apart(backend: str, seed: int) -> int:
    """Play one backend in a process of its own: its private disk goes with it."""
    arguments = [*sys.argv[1:], "--backend", backend, "--seed", str(seed)]  # the last of a name counts
    return subprocess.run([sys.executable, "-m", "torture", *arguments], check=False).returncode


def _play(plan: Plan, *, quiet: bool) -> dict[str, Any]:
    narrate(f"playing: {plan.command}")
    result = play(plan, (lambda _: None) if quiet else narrate)
    figures = result.json
    run = figures["run"]
    print(f"## {plan.backend}, {run['dealt for']:.0f} s, seed {plan.seed}\n\n{as_table(result.rows)}\n")
    print(
        f"{figures['issued']} issued, {figures['acknowledged']} acknowledged, {figures['arrivals']} arrivals, "
        f"{figures['verdict']['duplicates']} duplicates, {run['kills that hit']} SIGKILLs of processes at work, "
        f"{figures['forks']} forks; {figures['verdict']['places']}; drained {run['drained after']} s after the last fault"
    )
    if run["left out"]:
        print(f"Left out: {', '.join(run['left out'])}")
    if result.verdict.passed:
        print("Everything held.")
    else:
        for kind, found in figures["verdict"]["violations"].items():
            print(f"VIOLATED: {found['count']} {kind}: {found['first']}")
        for reason in result.verdict.vacuous:
            print(f"PROVES TOO LITTLE: {reason}")
        print(f"Play it again: {plan.command}\nWhat was written down: {result.folder}")
    sys.stdout.flush()
    return figures


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("--backend", choices=(*_BACKENDS, "all"), default="all")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, default=600.0, help="of faults, for each backend")
    length.add_argument(
        "--kills", type=int, default=0, help="instead: until so many SIGKILLs have hit a process at work"
    )
    parser.add_argument("--seed", type=int, help="default: a fresh one")
    parser.add_argument("--only", default="", metavar="FAULT,…", help="deal only these fault classes")
    parser.add_argument("--kill-rate", type=float, default=3.0, help="kills per second of fault")
    parser.add_argument(
        "--pause",
        type=float,
        default=0.02,
        help="seconds between two events of a thread; too few, and new ones wait behind old ones",
    )
    parser.add_argument("--stretch", type=float, default=1.0, help="how much longer than usual faults last")
    order = parser.add_mutually_exclusive_group()
    order.add_argument("--in-order", action="store_true", default=None, help="one processor at a time")
    order.add_argument("--shared", dest="in_order", action="store_false", help="all workers share the queue")
    parser.add_argument("--sabotage", choices=sabotage.KINDS, help="a bug on purpose, which must be found")
    parser.add_argument(
        "--liveness",
        type=float,
        default=LIVENESS_SECONDS,
        help="seconds that a recovery may take; more on a machine that others use",
    )
    parser.add_argument("--json", metavar="FILE", help="append the figures there, a line for each backend")
    parser.add_argument("--quiet", action="store_true", help="no line for each fault")
    options = parser.parse_args()
    if options.kills and not options.kill_rate:
        parser.error("--kills without a --kill-rate would never end")
    return options


if __name__ == "__main__":
    sys.exit(main())
