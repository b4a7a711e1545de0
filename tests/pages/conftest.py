"""The site, built once for all tests of a run, as `./run docs` builds it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pages.blocks import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site. The workers of pytest-xdist share it: the first one that needs it builds it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    site = folder / "site"
    with folder.joinpath("site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not site.joinpath("llms.txt").exists():  # which is written last
            done = build(site, ROOT / "mkdocs.yml")
            assert done.returncode == 0, done.stdout + done.stderr
    return site


def build(site: Path, config: Path) -> subprocess.CompletedProcess[str]:
    """Build into the folder *site*. Not with --quiet: warnings that are not shown do not count for --strict."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(site)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=300
    )
