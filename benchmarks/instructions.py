"""
Hold the cost of ``track()`` in instructions, which, unlike its time, are the same on a busy machine and an idle one.

    python -m benchmarks.instructions            compare with instructions.json; exit 1 where it is 10 % more
    python -m benchmarks.instructions --record   write what was counted into instructions.json

Valgrind counts a process that calls ``track()`` and a fixed reference (see ``candidates/counted.py``) so many times,
and once more with more calls of either: the difference has nothing of starting and importing in it. Counts repeat
within 0.1 %.

Counts depend on how the interpreter was compiled and on the libraries: from 23,900 to 27,700 for one ``track()`` on
four CPythons from 3.11 to 3.13. Where exactly these are recorded, counts are compared. Elsewhere it is what ``track()``
costs in units of the reference, counted in the same run: there the four are between 1.44 and 1.55, and those of one
Python closer still, so another machine is held almost as tightly. Where nothing can be counted the answer is a failure
and never a pass.

Valgrind announces no AVX-512 to the program, so libraries that choose their code at run time, as orjson and isal do,
choose code that Valgrind understands, whatever the processor could do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Counts", "Verdict", "compare", "main"]

HERE = Path(__file__).parent
RECORDED = HERE / "instructions.json"
SCRIPT = HERE / "candidates" / "counted.py"
TOLERANCE = 0.10
WARM_CALLS = 1000
"""Calls that every counted process makes of both: after these the interpreter has specialised their code."""
COUNTED_CALLS = 5000
_DEADLINE = 300.0


class CountingError(Exception):
    """Nothing could be counted. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Instructions of one call, of ``track()`` and of the reference, in the same run."""

    track: float
    reference: float

    @property
    def ratio(self) -> float:
        """What ``track()`` costs in units of the reference."""
        return self.track / self.reference


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the count may stay, and the *line* that says so."""

    passed: bool
    line: str


# -- what to make of counts: pure ---------------------------------------------------------------------------------------


def compare(found: Counts, environment: str, recorded: Mapping[str, Counts]) -> Verdict:
    """
    Hold *found* against what is *recorded* by environment: more than a tenth more does not pass.

    An environment that is not recorded is held against the lowest ratio recorded for its Python (3.11, say), or else
    for any.
    """
    same = recorded.get(environment)
    text = f"track(): {found.track:,.0f} instructions a call"
    if same is not None:
        change = found.track / same.track - 1
        text += f" (recorded {same.track:,.0f}, {_percent(change)})"
    else:
        series = _python_series(environment)
        alike = [counts for name, counts in recorded.items() if _python_series(name) == series]
        candidates = alike or list(recorded.values())
        if not candidates:
            return Verdict(False, f"{text}, and nothing is recorded to compare it with: use --record")
        lowest = min(counts.ratio for counts in candidates)
        change = found.ratio / lowest - 1
        text += (
            f", {found.ratio:.3f} times the reference (recorded {lowest:.3f}, {_percent(change)};"
            f" not recorded: {environment})"
        )
    if change > TOLERANCE:
        return Verdict(
            False, f"{text}: more than {TOLERANCE:.0%} over. Make it cheaper, or use --record and say why."
        )
    if change < -TOLERANCE:
        text += ": well done, use --record to keep it"
    return Verdict(True, text)


def _percent(change: float) -> str:
    return f"{change * 100:+.1f} %"


def _python_series(environment: str) -> str:
    """Return ``CPython 3.11`` of ``CPython 3.11.7 (...), ...``."""
    return environment.partition(" (")[0].rpartition(".")[0]


def differences(base: int, more_track: int, more_reference: int, calls: int) -> Counts:
    """Return instructions a call, from those of a whole process and of two that made *calls* more of either."""
    return Counts((more_track - base) / calls, (more_reference - base) / calls)


# -- counting -----------------------------------------------------------------------------------------------------------


def environment_name() -> str:
    """Return what counts depend on, such as ``CPython 3.11.7 (main, May 9 2026) GCC 12.2.0, x86_64, orjson 3.13.0, …``."""
    build = ", ".join(" ".join(part.split()) for part in platform.python_build())
    parts = [
        f"{platform.python_implementation()} {platform.python_version()} ({build}) {platform.python_compiler()}",
        platform.machine(),
    ]
    for package in ("orjson", "uuid-utils"):
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            raise CountingError(f"{package} is missing: pip install 'eventspool[fast]'") from None
    return ", ".join(parts)


def find_valgrind(folder: Path) -> tuple[Path, dict[str, str]]:
    """
    Return Valgrind and the variables that it needs: the one on PATH, or one fetched into *folder*.

    Debian's package can be fetched, and used, without installing it or being root.
    """
    installed = shutil.which("valgrind")
    if installed:
        return Path(installed), {}
    if not folder.exists():
        _fetch_valgrind(folder)
    tools = next(folder.glob("usr/lib*/**/callgrind-*-linux"), None)
    if tools is None:
        raise CountingError(f"{folder} holds no Valgrind: delete it and try again")
    # `valgrind` itself is a script there that looks for the real one in /usr/bin.
    return folder / "usr/bin/valgrind.bin", {"VALGRIND_LIB": str(tools.parent)}


def _fetch_valgrind(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        try:
            try:
                _quietly(["apt-get", "download", "valgrind"], cwd=name)
            except subprocess.CalledProcessError:
                _quietly(["apt-get", "update"], cwd=name)
                _quietly(["apt-get", "download", "valgrind"], cwd=name)
            package = next(Path(name).glob("*.deb"))
            _quietly(["dpkg", "-x", str(package), "unpacked"], cwd=name)
        except (OSError, subprocess.SubprocessError, StopIteration):
            raise CountingError(
                "Valgrind is needed to count instructions and could not be fetched."
                " On Debian and Ubuntu, please run:  sudo apt-get install valgrind"
            ) from None
        (Path(name) / "unpacked").rename(folder)


def _quietly(command: list[str], *, cwd: str) -> None:
    subprocess.run(command, check=True, capture_output=True, cwd=cwd, timeout=_DEADLINE)


def count() -> Counts:
    """Count three processes, side by side."""
    valgrind, variables = find_valgrind(Path(sys.prefix) / "valgrind")
    counter = [str(valgrind), "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    # Once without Valgrind: what is wrong shows at once, and all three find the same cached bytecode.
    _finish(_start([], 10, 10, {}))
    more = WARM_CALLS + COUNTED_CALLS
    processes = [
        _start(counter, track_calls, reference_calls, variables)
        for track_calls, reference_calls in ((WARM_CALLS, WARM_CALLS), (more, WARM_CALLS), (WARM_CALLS, more))
    ]
    try:
        base, more_track, more_reference = (_total(_finish(process)) for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return differences(base, more_track, more_reference, COUNTED_CALLS)


def _start(
    counter: Sequence[str], track_calls: int, reference_calls: int, variables: Mapping[str, str]
) -> subprocess.Popen[str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))
    }
    return subprocess.Popen(
        [*counter, sys.executable, str(SCRIPT), str(track_calls), str(reference_calls)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**inherited, "PYTHONHASHSEED": "0", **variables},
    )


def _finish(process: subprocess.Popen[str]) -> str:
    try:
        _, errors = process.communicate(timeout=_DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise CountingError(f"counting takes more than {_DEADLINE:.0f} seconds") from None
    if process.returncode != 0:
        raise CountingError(f"counted.py ended with {process.returncode}:\n{errors[-2000:]}")
    return errors


def _total(errors: str) -> int:
    found = re.search(r"Collected : (\d+)", errors)
    if found is None:
        raise CountingError(f"Valgrind tells no count:\n{errors[-2000:]}")
    return int(found[1])


# -- the record ---------------------------------------------------------------------------------------------------------


def read_recorded(path: Path) -> dict[str, Counts]:
    """Return what is recorded, by environment."""
    entries = json.loads(path.read_text()) if path.exists() else {}
    return {name: Counts(**entry) for name, entry in entries.items()}


def write_recorded(path: Path, recorded: Mapping[str, Counts]) -> None:
    """Write *recorded*, so that a change of one environment changes one entry of the file."""
    entries = {name: {k: round(v) for k, v in asdict(counts).items()} for name, counts in recorded.items()}
    path.write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, compare or record, and return the exit status: 1 for too many instructions, 2 where none were counted."""
    parser = argparse.ArgumentParser(
        prog="instructions", description="Count the instructions of one track()."
    )
    parser.add_argument("--record", action="store_true", help=f"write the count into {RECORDED.name}")
    options = parser.parse_args(arguments)
    try:
        environment, found = environment_name(), count()
    except CountingError as error:
        print(f"instructions: {error}", file=sys.stderr)
        return 2
    recorded = read_recorded(RECORDED)
    verdict = compare(found, environment, recorded)
    if options.record:
        write_recorded(RECORDED, {**recorded, environment: found})
        print(
            f"track(): {found.track:,.0f} instructions a call, {found.ratio:.3f} times the reference: recorded"
        )
        return 0
    print(verdict.line)
    return 0 if verdict.passed else 1


if __name__ == "__main__":
    sys.exit(main())
