"""
Power cuts under SQLite: ``python -m torture.sqlite_power_cut [--synchronous full|normal] [--cuts 100] [--seed N] [--errors]``.

One process works on a queue under ``strace``. Then the power is cut at many points of that trace: the files are put
together as they may be on the disk (see ``disk_trace``), the queue is opened, and what was acknowledged by then must be in it
or delivered. Needs ``strace``.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eventspool import open_queue
from torture.disk_trace import OPTIONS, TracedFile, calls_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Cuts", "cut_often"]

_STATES = ("waiting", "delayed", "leased", "failed")
_KEEP = (0.0, 0.5, 0.9, 1.0)
_ERRORS = ("-e", "inject=fdatasync,fsync:error=EIO:when=9+7")
"""Beyond the opening of the file, every seventh sync fails."""
_TESTS = Path(__file__).parent.parent


@dataclass
class Cuts:
    """
    What many power cuts cost.

    Args:
        cuts: How many.
        acked: Events acknowledged in the whole trace.
        losing: Cuts that lost something.
        lost: The most acknowledged events that one cut lost.
        window: The longest from a lost acknowledgement to its cut, in seconds.
        damaged: Cuts after which the file was set aside as damaged.
        unsynced: Cuts that met changes that were not synced.
        errors: Syncs that failed.
    """

    cuts: int = 0
    acked: int = 0
    losing: int = 0
    lost: int = 0
    window: float = 0.0
    damaged: int = 0
    unsynced: int = 0
    errors: int = 0


def cut_often(
    synchronous: str, cuts: int, dice: random.Random, seconds: float = 1.5, *, errors: bool = False
) -> Cuts:
    """Trace one process, some of whose syncs fail with *errors*, cut the power at *cuts* points, and return the cost."""
    with tempfile.TemporaryDirectory(prefix="power-") as name:
        folder = Path(name).resolve()
        trace = _trace(folder, synchronous, seconds, _ERRORS if errors else ())
        return _cut(trace.read_text(errors="replace").splitlines(), folder, cuts, dice)


def _trace(folder: Path, synchronous: str, seconds: float, errors: Sequence[str]) -> Path:
    trace = folder / "trace"
    url = f"sqlite:///{folder / 'queue.db'}?synchronous={synchronous}"
    program = [sys.executable, "-m", "torture.sqlite_writer", url, str(folder / "said"), str(seconds)]
    command = ["strace", *OPTIONS, *errors, "-o", str(trace), *program]
    path = os.pathsep.join(filter(None, (str(_TESTS), os.environ.get("PYTHONPATH"))))
    subprocess.run(command, check=True, timeout=seconds + 60, env={**os.environ, "PYTHONPATH": path})
    return trace


def _cut(lines: list[str], folder: Path, cuts: int, dice: random.Random) -> Cuts:
    database, log, said = (str(folder / name) for name in ("queue.db", "queue.db-wal", "said"))
    files = {database: TracedFile(), log: TracedFile()}
    calls = [call for call in calls_of(lines) if call.path in (*files, said)]
    first = next((n for n, call in enumerate(calls) if call.path == said), 0)
    points = set(dice.sample(range(first, len(calls)), min(cuts, len(calls) - first)))
    acked: dict[str, float] = {}
    delivered: set[str] = set()
    outcome = Cuts()
    for number, call in enumerate(calls):
        outcome.errors += call.name in ("fdatasync", "fsync") and (call.result or 0) < 0
        if call.path in files:
            files[call.path].take(call)
        elif call.result is None:  # once begun, it may have been said
            for line in call.data.decode().splitlines():
                kind, message_id = line.split()
                if kind == "a":
                    acked[message_id] = call.moment
                else:
                    delivered.add(message_id)
        if number in points:
            outcome.cuts += 1
            outcome.unsynced += any(file.pending for file in files.values())
            keep = dice.choice(_KEEP)
            images = {path: file.after_power_cut(dice, keep) for path, file in files.items()}
            _examine(
                images[database],
                images[log],
                folder,
                {i: call.moment - t for i, t in acked.items() if i not in delivered},
                outcome,
            )
    outcome.acked = len(acked)
    return outcome


def _examine(database: bytes, log: bytes, folder: Path, expected: dict[str, float], outcome: Cuts) -> None:
    """Open what the power cut left, and note what is missing of the ids *expected*, given with their age."""
    with tempfile.TemporaryDirectory(prefix="cut-", dir=folder) as name:
        path = Path(name) / "queue.db"
        path.write_bytes(database)
        if log:
            path.with_name("queue.db-wal").write_bytes(log)
        with open_queue(f"sqlite:///{path}") as queue:
            found = {
                event["messageId"]
                for state in _STATES
                for job in queue.jobs(state, limit=100_000)
                for event in queue.events(job.id)
            }
        outcome.damaged += bool(list(path.parent.glob("*.corrupt-*")))
    missing = expected.keys() - found
    if missing:
        outcome.losing += 1
        outcome.lost = max(outcome.lost, len(missing))
        outcome.window = max(outcome.window, max(expected[i] for i in missing))


def main() -> int:
    """Print what the cuts cost. 1 when ``full`` lost anything, or a file was damaged."""
    parser = argparse.ArgumentParser(prog="sqlite_power_cut", description=__doc__)
    parser.add_argument("--synchronous", choices=("full", "normal"), default="full")
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--errors", action="store_true", help="have some syncs fail")
    options = parser.parse_args()
    outcome = cut_often(
        options.synchronous, options.cuts, random.Random(options.seed), options.seconds, errors=options.errors
    )
    print(f"synchronous {options.synchronous}: {outcome}")
    return int(bool(outcome.damaged or (options.synchronous == "full" and outcome.losing)))


if __name__ == "__main__":
    sys.exit(main())
