"""
Every code block of the README and of docs/ is run, or says why not.

The Python blocks of a page are one program, from top to bottom, as a reader would type them. A block that begins with the
name of a file (`# shop.py`) is that file, or more of it, and where a file holds tests, pytest runs them. A local data plane
stands for the real one, and a private Redis server for `localhost`. Shell blocks are read by click's own parser: a command or
an option that is not there is found. What a page can say of a block stands in tests/pages/blocks.py.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
import yaml

from eventspool._events.kinds import KINDS
from eventspool._redis_server import RedisServer
from pages import run_page, shell
from pages.blocks import BLOCKS, ROOT, Block

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eventspool.testing import DataPlane

REFERENCE = "docs/reference.md"
"""Its Python blocks are signatures, and a test of its own compares them with the source."""
PYTHON = {"python", "py"}
SHELL = {"sh", "bash", "shell", "console"}
DATA = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load, "yml": yaml.safe_load}
OUTPUT = {"", "text"}


def of(*languages: str) -> list[Block]:
    """Return the blocks in these languages that no page excuses."""
    return [block for block in BLOCKS if block.language in languages and block.word not in {"no-run", "file"}]


PROGRAMS = sorted({block.page for block in of(*PYTHON)} - {REFERENCE})


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def files_of(page: str, redis: RedisServer, plane: DataPlane) -> dict[str, str]:
    """Return the files that a page shows. In `page.py`, which has no name there, each line is at its place in the page."""
    files: dict[str, list[str]] = {}
    for block in of(*PYTHON):
        if block.page != page:
            continue
        named = re.match(r"# ([\w/]+\.py)\n", block.code)
        lines = files.setdefault(named[1] if named else "page.py", [])
        setup = block.said.splitlines() if block.word == "setup" else []
        if not named:
            lines += [""] * (block.line - 1 - len(lines) - len(setup))
        lines += setup + block.code.splitlines()
    return {name: _at_home("\n".join(lines) + "\n", redis, plane) for name, lines in files.items()}


def _at_home(code: str, redis: RedisServer, plane: DataPlane) -> str:
    """Have *code* talk to the servers of this test, instead of those that a page makes up."""
    # A broker of Celery's stays: it is not asked for anything, and knows no address of this form.
    code = re.sub(r"(?<!broker=\")redis://localhost:6379/\d", redis.url, code)
    code = code.replace('{"host": "localhost"}', f'{{"url": "{redis.url}"}}')
    return re.sub(r"http://127\.0\.0\.1:8123|https?://[\w.-]*\.example(?:\.com)?(?![\w.])", plane.url, code)


def tracks_at_once(code: str) -> bool:
    """Return whether *code* tracks an event when it is run, and not only in a function that it defines."""
    inside = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    waiting: list[ast.AST] = [ast.parse(code)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in KINDS:
            return True
        waiting += [child for child in ast.iter_child_nodes(node) if not isinstance(child, inside)]
    return False


@pytest.mark.parametrize("page", PROGRAMS)
def test_the_python_code_of_a_page_runs(
    page: str, tmp_path: Path, eventspool_dataplane: DataPlane, redis: RedisServer
) -> None:
    files = files_of(page, redis, eventspool_dataplane)
    for name, code in files.items():
        tmp_path.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        tmp_path.joinpath(name).write_text(code, encoding="utf-8")
    environment = {
        **os.environ,
        "EVENTSPOOL_WRITE_KEY": "dev",
        "EVENTSPOOL_DATA_PLANE_URL": eventspool_dataplane.url,
        "PYTHONWARNINGS": "error",
    }
    command = [sys.executable, run_page.__file__, *files]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, f"{page}\n{done.stdout}\n{done.stderr}"
    if tracks_at_once(files.get("page.py", "")):
        assert eventspool_dataplane.events, f"{page} tracks events, and none has arrived"


@pytest.mark.parametrize("page", sorted({block.page for block in of(*SHELL, *OUTPUT)}))
def test_the_commands_of_a_page_exist(page: str) -> None:
    complaints = [
        f"{block.place}: {complaint}"
        for block in of(*SHELL, *OUTPUT)
        if block.page == page
        and (block.language in SHELL or block.code.startswith("$ "))  # else it is output
        for complaint in shell.complain_of(block.code, variables())
    ]

    assert complaints == []


def test_each_block_of_data_can_be_read() -> None:
    for block in of(*DATA):
        DATA[block.language](block.code)


def test_each_signature_of_the_reference_is_one() -> None:
    for block in BLOCKS:
        if block.language in PYTHON and block.page == REFERENCE:
            ast.parse(f"def {block.code.removeprefix('await ').strip()}: ...".replace("…", "..."))


def test_each_block_is_of_a_known_language_or_excused() -> None:
    known = PYTHON | SHELL | OUTPUT | set(DATA)

    assert [b.place for b in BLOCKS if b.language not in known and b.word not in {"no-run", "file"}] == []


def test_what_is_not_run_says_why() -> None:
    assert [block.place for block in BLOCKS if block.word == "no-run" and len(block.said) < 15] == []


def test_a_block_that_a_file_holds_stands_there() -> None:
    missing = []
    for block in BLOCKS:
        if block.word == "file":
            text = ROOT.joinpath(block.said).read_text(encoding="utf-8")
            there = {line.strip() for line in text.splitlines()}
            missing += [
                f"{block.place}: {line}"
                for line in block.code.splitlines()
                if line.strip() not in there | {""}
            ]

    assert missing == []


def test_what_a_page_has_the_doctor_say_is_what_it_says() -> None:
    """Word for word, but for what is measured."""
    source = "".join(path.read_text("utf-8") for path in ROOT.glob("src/eventspool/_doctor/*.py"))
    said = [
        (block.place, *match)
        for block in BLOCKS
        for match in re.findall(r"^(?:error|warning): (.+)  \[([\w.]+)\]\n  (.+)$", block.code, re.MULTILINE)
    ]
    unsaid = [
        (place, part)
        for place, finding, check, advice in said
        for part in (f'"{check}"', *re.split(r"\(.*?\)", finding)[:1], advice.partition(",")[0])
        if part not in source
    ]

    assert said
    assert unsaid == []


def test_no_page_has_a_diagram_that_needs_a_script() -> None:
    """Mermaid's script would come from another host. tools/pictures.py draws the diagrams."""
    assert [block.place for block in BLOCKS if block.language == "mermaid"] == []


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("eventspool qeue status", "did you mean 'queue'"),
        ("eventspool queue status --wach", "No such option"),
        ("$ eventspool worker --log-format xml", "is not one of"),
        ("EVENTSPOOL_QEUE=x eventspool doctor", "EVENTSPOOL_QEUE is no variable"),
        ("pip install 'eventspool[reddis]'", "no extra reddis"),
        ("./run tests", "no tests"),
        ("true && eventspool queue", "which command"),
    ],
)
def test_a_wrong_command_is_noticed(code: str, complaint: str) -> None:
    assert complaint in "; ".join(shell.complain_of(code, variables()))


def variables() -> set[str]:
    """Return the variables that eventspool reads: those of the commands, and those of the reference's table."""
    page = ROOT.joinpath(REFERENCE).read_text(encoding="utf-8")
    return (
        shell.variables_of_commands()
        | set(re.findall(r"EVENTSPOOL_[A-Z_]+[A-Z]", page))
        | {"EVENTSPOOL_ENCRYPTION_KEY", "EVENTSPOOL_DEBUG"}
    )
