"""
A copy of the package in which one file at a time is changed, and tests that are run on it.

Each run is a fork of a process that has imported pytest and all libraries, but nothing of the package: so a mutant costs what
its import and its tests cost. Only tests that run the changed lines are asked, the shortest first.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cryptography.hazmat.primitives.ciphers.aead
import hypothesis.stateful
import pytest
import redis
from observer import Observer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mutant import Mutant

__all__ = ["Baseline", "Laboratory", "Outcome"]

_PLUGINS = ("_hypothesis_pytestplugin", "pytest_timeout")
_LONGEST_START = 15.0
_PRELOADED = (cryptography, hypothesis, redis)
# How long tests wait for what is to happen at once. A mutant often is what makes it never happen.
_PATIENCE = ("_contract/tools.py", "SOON = 10.0", "SOON = 2.0")


@dataclass(frozen=True, slots=True)
class Baseline:
    """
    What the tests do to the package as it is.

    Args:
        durations: Seconds of each test.
        lines: File -> line -> tests that run it; "" where an import runs it, so that it may matter to all.
        scripts: Lua script -> tests that run it.
    """

    durations: Mapping[str, float]
    lines: Mapping[str, Mapping[str, list[str]]]
    scripts: Mapping[str, list[str]]

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that may notice *mutant*, the shortest first."""
        if mutant.path.endswith(".lua"):
            script = Path(mutant.path).stem
            found = set(self.durations if script == "prelude" else self.scripts.get(script, ()))
        else:
            of_file = self.lines.get(mutant.path, {})
            found = {test for line in mutant.lines for test in of_file.get(str(line), ())}
            if "" in found:
                found = set(self.durations)
        return sorted(found, key=lambda test: self.durations[test])


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a mutant fared. *status* is ``killed``, ``timeout``, ``survived`` or ``unreached``; *by* names the test."""

    status: str
    by: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class Laboratory:
    """A copy of *root*'s package and tests, in *folder*."""

    root: Path
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="mutation-")))

    def __post_init__(self) -> None:
        for name in ("src", "tests"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(self.root / name, self.folder / name, ignore=ignored, dirs_exist_ok=True)
        shutil.copy(self.root / "pyproject.toml", self.folder)
        path, was, becomes = _PATIENCE
        text = (self.package / path).read_text()
        assert was in text
        (self.package / path).write_text(text.replace(was, becomes))

    @property
    def package(self) -> Path:
        """The package's folder."""
        return self.folder / "src" / "eventspool"

    def close(self) -> None:
        """Delete the copy."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def observe(self, tests: Sequence[str], paths: Sequence[str]) -> Baseline:
        """Run *tests* on the package as it is, and note which lines of *paths* each runs."""
        answer = self._run(tests, None, 600.0, [str(self.package / path) for path in paths])
        if answer is None or answer["code"]:
            text = (self.folder / "output").read_text()
            raise SystemExit(
                f"{text[-3000:]}\nthe tests fail without a mutant: {answer and answer['failed']}"
            )
        prefix = f"{self.package}/"
        lines = {path.removeprefix(prefix): found for path, found in answer["lines"].items()}
        return Baseline(answer["tests"], lines, answer["scripts"])

    def try_out(self, mutant: Mutant, tests: Sequence[str], baseline: Baseline) -> Outcome:
        """Run the tests that may notice *mutant* until one does."""
        chosen = baseline.tests_of(mutant)
        if not chosen:
            return Outcome("unreached")
        path = self.package / mutant.path
        source = path.read_bytes()
        started = time.monotonic()
        path.write_bytes(mutant.apply(source))
        try:
            files = {test.split("::")[0] for test in chosen}
            limit = _LONGEST_START + 3 * sum(baseline.durations[test] for test in chosen)
            answer = self._run([t for t in tests if t in files], chosen, limit)
        finally:
            path.write_bytes(source)
        seconds = time.monotonic() - started
        if answer is None:
            return Outcome("timeout", seconds=seconds)
        assert answer["code"] != pytest.ExitCode.NO_TESTS_COLLECTED
        if not answer["code"]:
            return Outcome("survived", seconds=seconds)
        return Outcome("killed", answer["failed"] or "the import", seconds)

    def _run(
        self, tests: Sequence[str], chosen: Sequence[str] | None, timeout: float, watched: Sequence[str] = ()
    ) -> dict | None:
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            try:
                self._run_here(tests, chosen, watched, report)
            finally:
                os._exit(3)
        deadline = time.monotonic() + timeout
        ended = False
        try:
            while not ended and time.monotonic() < deadline:
                time.sleep(0.005)
                ended = os.waitpid(child, os.WNOHANG) != (0, 0)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # and what the tests have left behind
            if not ended:
                os.waitpid(child, 0)
        if not ended:
            return None
        if not report.exists():  # it ended pytest itself
            return {"code": 3, "failed": ""}
        return json.loads(report.read_text())

    def _run_here(
        self, tests: Sequence[str], chosen: Sequence[str] | None, watched: Sequence[str], report: Path
    ) -> None:
        os.setpgid(0, 0)
        os.chdir(self.folder)
        output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        source = str(self.folder / "src")
        sys.path.insert(0, source)
        sys.dont_write_bytecode = True
        temporary = self.folder / "tmp"  # what killed tests leave behind goes with the rest
        temporary.mkdir(exist_ok=True)
        tempfile.tempdir = str(temporary)
        os.environ.update(
            TMPDIR=str(temporary),
            PYTHONPATH=source,
            PYTHONDONTWRITEBYTECODE="1",
            PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
            EVENTSPOOL_TEST_EXAMPLES="25",
        )
        observer = Observer(chosen, watched)
        options = [word for plugin in _PLUGINS for word in ("-p", plugin)]
        options += ["-p", "no:cacheprovider", "-q", "-x", "--tb=short", f"--basetemp={temporary / 'pytest'}"]
        options += [test for test in tests if Path(test).exists()]
        code = pytest.main(options, plugins=[observer])
        scripts = {name: sorted(found) for name, found in observer.scripts.items()}
        answer = {"code": int(code), "failed": observer.failed, "tests": observer.tests, "scripts": scripts}
        report.write_text(json.dumps({**answer, "lines": observer.lines()}))
        sys.stdout.flush()
        os._exit(0)
