"""The code of the pages that show whole files runs, as those files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def files_of(page: str) -> dict[str, str]:
    """Return the files that *page* shows: each block of Python begins with a comment that names its file."""
    blocks = re.findall(r"```python\n(.*?)```", DOCS.joinpath(page).read_text(encoding="utf-8"), re.DOTALL)
    files: dict[str, str] = {}
    for block in blocks:
        name = re.match(r"# ([\w/]+\.py)\n", block)
        assert name, f"no file has this block of {page}, so nothing would run it: {block[:60]}"
        files[name[1]] = files.get(name[1], "") + block
    return files


def write_files(page: str, folder: Path) -> None:
    """Put the files that *page* shows into *folder*."""
    for name, text in files_of(page).items():
        folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        folder.joinpath(name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "tests"), [("testing.md", 5), ("frameworks/celery.md", 2), ("frameworks/aws-lambda.md", 2)]
)
def test_the_tests_that_a_page_shows_pass(page, tests, tmp_path):
    write_files(page, tmp_path)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-W",
            "error",
            "--import-mode=prepend",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert f"{tests} passed" in done.stdout, done.stdout + done.stderr
