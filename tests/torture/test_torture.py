"""
That the torture would find a bug, and runs: for every run of the tests.

The torture itself is a hunt, of which `./run test --whole` plays ninety seconds on each backend. `./run torture` is the whole.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
UNMEASURED = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
"""Coverage has a lock that a child forked beside other threads may inherit locked."""
SECONDS = 90
"""Of faults, for each backend."""
SEED = 20261125
"""One that draws a spill file and encryption."""


def torture(*options: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line, and delete what a failed run leaves behind."""
    result = subprocess.run(
        [sys.executable, "-m", "torture", *options],
        env={**UNMEASURED, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    for line in result.stdout.splitlines():
        if line.startswith("What was written down: "):
            shutil.rmtree(line.removeprefix("What was written down: "))
    return result


@pytest.mark.hunt
@pytest.mark.alone
@pytest.mark.torture
@pytest.mark.slow
@pytest.mark.timeout(SECONDS * 2 + 200)
@pytest.mark.parametrize(("backend", "order"), [("redis", "--shared"), ("sqlite", "--in-order")])
def test_nothing_acknowledged_is_lost_changed_or_invented(backend, order, tmp_path):
    """Nor overtaken, where order is kept: whatever happens to processes, Redis, the disk, the network and the data plane."""
    figures = tmp_path / "figures"
    options = ("--backend", backend, order, "--seconds", str(SECONDS), "--seed", str(SEED))
    result = torture(*options, "--json", str(figures))
    assert result.returncode == 0, result.stdout + result.stderr
    run = json.loads(figures.read_text())
    assert run["verdict"]["passed"]
    assert sum(run["verdict"]["places"].values()) == run["issued"]
    assert run["run"]["encrypted"]
    assert bool(run["spills"]) == (backend == "redis")
    if sys.platform == "linux" and os.geteuid() == 0:
        assert not run["run"]["left out"], "a tool is missing, and with it a fault"


@pytest.mark.rotating
@pytest.mark.alone
@pytest.mark.torture
@pytest.mark.slow
@pytest.mark.parametrize(
    ("bug", "found"),
    [
        ("forget", "lost"),
        ("alter", "changed"),
        ("invent", "invented"),
        ("repeat", "repeated"),
        ("shuffle", "overtaken"),
    ],
)
def test_a_client_with_a_bug_does_not_survive_the_torture(bug, found):
    # Only a batch of several events can be mixed up, and only where no fault excuses it.
    seconds = "15" if bug == "shuffle" else "3"
    options = ("--backend", "sqlite", "--seconds", seconds, "--seed", "1", "--only", "plane-503,plane-500")
    result = torture(*options, "--in-order", "--sabotage", bug, "--kill-rate", "0", "--liveness", "100")
    assert result.returncode == 1, result.stdout + result.stderr
    violations = [line for line in result.stdout.splitlines() if line.startswith("VIOLATED")]
    assert any(f" {found}: " in line for line in violations), result.stdout + result.stderr
    assert f"Play it again: ./run torture --backend sqlite --seconds {seconds} --seed 1 " in result.stdout


def test_an_unknown_fault_is_an_error_that_names_the_known_ones():
    result = torture("--backend", "sqlite", "--seconds", "1", "--only", "earthquake", timeout=200)
    assert result.returncode == 2
    assert "no such fault: earthquake; known are" in result.stderr


@pytest.mark.alone
@pytest.mark.torture
@pytest.mark.slow
def test_a_run_can_go_on_until_so_many_kills_have_hit(tmp_path):
    figures = tmp_path / "figures"
    # The fewer a second, the longer the kills may take to hit a process at work; and how fast it recovers is for the hunt.
    options = ("--backend", "sqlite", "--kills", "3", "--kill-rate", "0.5", "--liveness", "100")
    options = (*options, "--seed", "1", "--only", "plane-503,plane-500")
    result = torture(*options, "--json", str(figures))
    assert result.returncode == 0, result.stdout + result.stderr
    kills = json.loads(figures.read_text())["run"]["kills that hit"]
    assert kills >= 3
    assert f" {kills} SIGKILLs of processes at work" in result.stdout
