"""The command line: ``python -m guest.interruptions [--all] [--seconds 80] [--seed N] [--scenario …] [--kind …]``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from guest.interruptions.oracle import OVERLOOKED
from guest.interruptions.plan import Plan
from guest.interruptions.run import describe, play


def main() -> int:
    """Play what is asked for. 0: everything held; 1: it did not."""
    options = _parse()
    began = time.monotonic()

    def tell(outcome: dict[str, Any]) -> None:
        if options.json:
            with Path(options.json).open("a") as file:
                file.write(json.dumps({k: v for k, v in outcome.items() if k != "visits"}) + "\n")
        if outcome["problems"] or options.verbose:
            print(f"{time.monotonic() - began:6.0f}  {describe(outcome)}", file=sys.stderr, flush=True)

    def wanted(role: str, scenario: str, backend: str) -> bool:
        return (
            options.thread in ("", "caller" if role == "caller" else "ours")
            and (not options.scenario or scenario in options.scenario.split(","))
            and (not options.backend or backend in options.backend.split(","))
        )

    if options.task:
        plan: Any = _Single(json.loads(options.task))
    else:
        kinds = tuple(filter(None, options.kind.split(",")))
        plan = Plan(options.seed, wanted, whole=options.all, storms=options.storms, kinds=kinds)
    report = play(
        plan,
        seconds=None if options.all else options.seconds,
        slots=options.slots,
        tell=tell,
        environment={OVERLOOKED: options.overlook},
    )
    print("\n".join(report.lines()))
    print(f"seed {options.seed}, {time.monotonic() - began:.0f} s")
    return 1 if report.failures else 0


class _Single:
    """A plan of one round."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._left = [order]
        self.reached: set[tuple[str, str, int]] = set()
        self.covered: dict[tuple[str, str, int], int] = {}

    def next(self) -> dict[str, Any] | None:
        return self._left.pop() if self._left else None

    def note(self, outcome: dict[str, Any]) -> None:
        """There is nothing to learn from it."""


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="guest.interruptions", description=__doc__)
    parser.add_argument("--all", action="store_true", help="every kind at every point, however long it takes")
    parser.add_argument("--seconds", type=float, default=80.0, help="of a share")
    parser.add_argument("--seed", type=int, default=20261201)
    parser.add_argument("--thread", choices=("", "caller", "ours"), default="")
    parser.add_argument("--scenario", default="", metavar="NAME,…")
    parser.add_argument("--backend", default="", metavar="NAME,…")
    parser.add_argument("--kind", default="", metavar="KIND,…")
    parser.add_argument("--storms", action="store_true", help="real signals instead of chosen points")
    parser.add_argument("--slots", type=int, default=5, help="rounds at a time")
    parser.add_argument("--task", default="", metavar="JSON", help="one round, as the report names it")
    parser.add_argument(
        "--overlook", default="", metavar="ROLE,…", help="threads that may be left at the end"
    )
    parser.add_argument("--json", metavar="FILE", help="append every outcome there, a line each")
    parser.add_argument("--verbose", action="store_true", help="tell of rounds that held, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
