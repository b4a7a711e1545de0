"""A share of the torture, for every run of the tests. `./run torture` is the whole of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
SECONDS = 20
"""Of faults, for each backend."""


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(SECONDS * 2 + 200)
@pytest.mark.parametrize(("backend", "seed"), [("redis", 20261123), ("sqlite", 20261123)])
def test_nothing_acknowledged_is_lost_changed_or_invented(backend, seed, tmp_path):
    """Whatever happens to processes, Redis, the disk, the network and the data plane."""
    figures = tmp_path / "figures"
    options = ("--backend", backend, "--seconds", str(SECONDS), "--seed", str(seed), "--json", str(figures))
    result = subprocess.run(
        [sys.executable, "-m", "torture", *options],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    run = json.loads(figures.read_text())
    assert run["verdict"]["passed"]
    assert sum(run["verdict"]["places"].values()) == run["issued"]


def test_an_unknown_fault_is_an_error_that_names_the_known_ones():
    result = subprocess.run(
        [sys.executable, "-m", "torture", "--backend", "sqlite", "--seconds", "1", "--only", "earthquake"],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode
    assert "no such fault: earthquake; known are" in result.stderr
