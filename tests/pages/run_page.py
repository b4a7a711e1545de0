"""
Runs the Python code of a page: `python run_page.py FILE…`, in the folder where tests/test_docs_code.py has written it.

Each file is imported, or, where it holds tests, run by pytest. `page.py` is what the page says without naming a file: it is
run as a program.
"""

from __future__ import annotations

import importlib
import re
import runpy
import subprocess
import sys
from pathlib import Path


def main(files: list[str]) -> int:
    """Run *files*, and return the exit status."""
    sys.path.insert(0, "")
    tests = [name for name in files if _holds_tests(name)]
    for name in files:
        if name == "page.py" and name not in tests:
            runpy.run_path(name, run_name="__main__")
        elif name not in tests:
            importlib.import_module(name.removesuffix(".py").replace("/", "."))
    if not tests:
        return 0
    # In a process of its own: pytest complains of plugins, as eventspool is one, that were imported before it.
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        ".",
        "-W",
        "error",
    ]
    return subprocess.run([*command, "--import-mode=prepend", *tests], check=False).returncode


def _holds_tests(name: str) -> bool:
    text = Path(name).read_text(encoding="utf-8")
    return re.search(r"^(async )?def test_|^class \w*Test\b", text, re.MULTILINE) is not None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
