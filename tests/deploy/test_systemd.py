"""The units of systemd: it accepts them, finds them hardened, and they run a worker."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import DEPLOY

pytestmark = pytest.mark.rotating("deployment", turns=3)

UNITS = ["eventspool-worker.service", "eventspool-worker@.service"]
MOST_EXPOSED = 2.0
"""From 0 (nothing is left open) to 10. 1.4 as the units are; a service that is not hardened has 9.6."""


@pytest.fixture(params=UNITS)
def unit(request):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(DEPLOY / request.param)
    return parser


def analyze(tmp_path, *arguments):
    """Have systemd look at the units; ``None`` where it is not (they are read by the other tests all the same)."""
    if (program := shutil.which("systemd-analyze")) is None:
        return None
    for name in UNITS:
        text = (DEPLOY / name).read_text().replace("/opt/eventspool/bin/eventspool", "/bin/true")
        tmp_path.joinpath(name).write_text(text)
    return subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, text=True)


def test_each_unit_runs_a_worker_that_outlives_its_grace(unit, understand):
    service = unit["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    name, options = understand(arguments, EVENTSPOOL_WRITE_KEY="k", EVENTSPOOL_QUEUE="redis://localhost")

    assert (Path(program).name, name, options["multi"]) == ("eventspool", "worker", True)
    assert int(service["TimeoutStopSec"]) > options["grace"]


def test_systemd_does_not_start_a_worker_again_whose_settings_are_wrong(unit):
    wrong = [["worker", "--no-such-option"], ["worker"], ["worker", "-k", "k", "-q", "mysql://x"]]
    command = [sys.executable, "-m", "eventspool"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("EVENTSPOOL_")}
    statuses = {subprocess.run([*command, *rest], capture_output=True, env=env).returncode for rest in wrong}

    assert unit["Service"]["Restart"] == "always"
    assert {unit["Service"]["RestartPreventExitStatus"]} == {str(status) for status in statuses}


def test_systemd_accepts_the_units(tmp_path):
    done = analyze(tmp_path, "verify", "--man=no", *(f"./{name}" for name in UNITS))
    if done is not None:
        complaints = [line for line in done.stderr.splitlines() if "eventspool-worker" in line]
        assert (done.returncode, complaints) == (0, []), done.stderr


@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_them_hardened(name, tmp_path):
    limit = f"--threshold={MOST_EXPOSED * 10:.0f}"
    done = analyze(tmp_path, "security", "--offline=true", limit, "--no-pager", f"./{name}")
    if done is not None:
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_template_differs_from_the_unit_only_in_its_names():
    def settings(name):
        return [
            line.replace("%i", "").replace("worker.env", ".env")
            for line in (DEPLOY / name).read_text().splitlines()
            if line and not line.startswith("#")
        ]

    one, template = map(settings, UNITS)
    named = ("Description=", "EnvironmentFile=", "StateDirectory=", "WorkingDirectory=")
    assert [line for line in one if not line.startswith(named)] == [
        line for line in template if not line.startswith(named)
    ]
