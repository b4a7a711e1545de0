"""Prometheus' ``promtool``, which judges metrics and rules. It is no package of PyPI's."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "build" / "promtool"
"""Where it is kept once it was fetched."""


def find_promtool() -> str:
    """
    Return the program: the one on PATH, or the one in Debian's package of Prometheus.

    That package is unpacked and not installed, since installing it would start a server.
    """
    if found := shutil.which("promtool"):
        return found
    program = FOLDER / "usr/bin/promtool"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FOLDER.joinpath(".lock").open("w") as lock:  # other processes of pytest want it at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.is_file():
            _fetch()
    assert program.is_file(), "tests need promtool: put it on PATH (it comes with Prometheus)"
    return str(program)


def _fetch() -> None:
    if shutil.which("apt-get") is None:
        return
    download = ["apt-get", "download", "-qq", "prometheus"]
    if subprocess.run(download, cwd=FOLDER, capture_output=True).returncode != 0:
        subprocess.run(["apt-get", "update", "-qq"], capture_output=True)
        subprocess.run(download, cwd=FOLDER, capture_output=True)
    for package in FOLDER.glob("prometheus_*.deb"):
        subprocess.run(["dpkg", "-x", str(package), str(FOLDER)], check=True, capture_output=True)
        package.unlink()
