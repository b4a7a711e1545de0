"""Promises about the whole package: light to import, small in surface, clean as a wheel, free of build paths."""

from __future__ import annotations

import ast
import copy
import dataclasses
import importlib.metadata
import json
import os
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple, get_type_hints

import pytest

import eventspool

ROOT = Path(__file__).resolve().parent.parent

_PROBE = """
import json, sys, time
before = set(sys.modules)
events = set()
sys.addaudithook(lambda name, args: events.add(name))
start = time.process_time()
import eventspool
seconds = time.process_time() - start
modules = sorted(set(sys.modules) - before)
print(json.dumps([seconds, modules, sorted(events), len(sys._current_frames())]))
"""


class Import(NamedTuple):
    """What importing eventspool did in a fresh interpreter."""

    cpu_seconds: float
    modules: list[str]
    audit_events: list[str]
    threads: int


def import_afresh() -> Import:
    # Neither measured by coverage nor kept from caching bytecode: as a user would import it.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("COVERAGE_", "PYTHONDONTWRITE"))}
    done = subprocess.run([sys.executable, "-c", _PROBE], check=True, capture_output=True, text=True, env=env)
    return Import(*json.loads(done.stdout))


def git_files(*options: str) -> list[str]:
    """List files that git knows, relative to the root."""
    # The checkout may belong to somebody else than the one who runs the tests, as in a container.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return [name for name in done.stdout.split("\0") if name]


def test_importing_is_light():
    """What costs milliseconds or has side effects is imported by the call that needs it."""
    heavy = {"asyncio", "click", "http.client", "redis", "rich", "sqlite3", "ssl", "urllib3"}

    assert [name for name in import_afresh().modules if name in heavy] == []


def test_importing_leaves_out_what_only_operators_need():
    """A program that sends events pays for the rest when it asks for it."""
    seldom = (
        "eventspool._operate",
        "eventspool._claim",
        "eventspool._fleet",
        "eventspool._figures",
        "eventspool._job",
        "eventspool._envelope",
        "eventspool._aio",
    )

    assert [name for name in import_afresh().modules if name.startswith(seldom)] == []
    assert set(eventspool.__all__) <= set(dir(eventspool))
    with pytest.raises(AttributeError, match="no attribute 'Qeue'"):
        _ = eventspool.Qeue


def test_importing_starts_no_thread_or_process_and_opens_no_socket():
    result = import_afresh()

    assert result.threads == 1
    assert [e for e in result.audit_events if e.startswith(("socket.", "subprocess.", "os.fork"))] == []


@pytest.mark.alone
def test_importing_costs_less_than_a_tenth_of_a_second():
    """Processor time, and the best of five: the bound is for the code, not for how busy the machine is."""
    assert min(import_afresh().cpu_seconds for _ in range(5)) < 0.1


def test_every_exported_name_exists():
    assert [name for name in eventspool.__all__ if not hasattr(eventspool, name)] == []


def test_the_exported_names_are_the_documented_ones():
    documented = """
        AsyncClient Client ClientStats FlushResult JobOpts QueueOpts RedisOpts SpillOpts
        Action Depth Distribution Erasure Job Look Pause ProcessorInfo Queue QueueStats
        ConfigError DeliveryError EventError EventSpoolError QueueError QueueUnavailable RefusedError
        alias bind close context current flush group identify init open_queue page screen stats track
        __version__
    """

    assert sorted(eventspool.__all__) == sorted(documented.split())


PUBLIC = [getattr(eventspool, name) for name in eventspool.__all__ if name != "__version__"]


@pytest.mark.parametrize("thing", PUBLIC, ids=lambda thing: thing.__name__)
def test_a_public_name_says_eventspool_and_is_found_there(thing):
    """Tracebacks, ``help`` and pickles name no module that may move."""
    assert f"{thing.__module__}.{thing.__qualname__}" == f"eventspool.{thing.__name__}"
    assert pickle.loads(pickle.dumps(thing)) is thing


@pytest.mark.parametrize(
    "kind", [thing for thing in PUBLIC if dataclasses.is_dataclass(thing)], ids=lambda kind: kind.__name__
)
def test_the_types_of_public_values_can_be_looked_up(kind):
    """By tools that look for names in the module that ``__module__`` names, and find fewer in eventspool."""
    assert set(get_type_hints(kind)) == {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize(
    "value",
    [
        eventspool.JobOpts(max_attempts=3),
        eventspool.QueueOpts(redis_opts={"host": "redis"}),
        eventspool.ClientStats(accepted=1),
        eventspool.FlushResult(delivered=1),
        eventspool.QueueStats(waiting=eventspool.Depth(1, 2, 3)),
        eventspool.ProcessorInfo("token"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_public_values_are_copied_and_pickled(value):
    assert pickle.loads(pickle.dumps(value)) == copy.copy(value) == value


@pytest.mark.parametrize(
    "error",
    [
        eventspool.ConfigError("wrong"),
        eventspool.EventError("wrong", "too_large"),
        eventspool.RefusedError("full", "buffer_full"),
        eventspool.DeliveryError("refused", "rejected", 400),
        eventspool.QueueUnavailable("away"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_come_out_of_another_process_whole(error):
    again = pickle.loads(pickle.dumps(error))

    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_the_loggers_are_named_after_the_package():
    """Hosts set up ``eventspool``, and nothing is named after a module, which may move."""
    names = set()
    for path in (ROOT / "src/eventspool").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Log", "logging.getLogger"):
                names.update(ast.unparse(argument) for argument in node.args)

    assert names - {"name", "log_format"} <= {"'eventspool'", "'eventspool.queue'", "'eventspool.worker'"}


def test_nothing_else_looks_public():
    """Every module is private but for those that the documentation names."""
    public = {path.stem for path in (ROOT / "src/eventspool").iterdir() if not path.name.startswith("_")}

    assert public - {"py", "testing", "integrations", "compat"} == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    [path] = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    """Not the tests, not the whole data set; but the licence and the type marker."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = git_files("--cached", "--others", "--exclude-standard", "src/eventspool")

    assert names == {name.removeprefix("src/") for name in package if (ROOT / name).exists()}
    assert "eventspool/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())


def test_the_version_is_the_installed_one():
    assert eventspool.__version__ == importlib.metadata.version("eventspool")


def test_no_file_names_a_build_machine():
    """Paths and download hosts of the machine on which something was made say nothing to anybody else."""
    folders = "|".join(["wo" + "rk", "ro" + "ot", "fa" + "rm"])
    hosts = "|".join(["files.python" + "hosted", "/sim" + "ple/", r"\.wh" + r"l\b"])
    forbidden = re.compile(rf"(?<![\w.])/(?:{folders})/|https?://\S*(?:{hosts})".encode())
    found = []
    for name in git_files():
        path = ROOT / name
        if path.is_file() and (match := forbidden.search(path.read_bytes())):
            found.append(f"{name}: {match.group().decode()}")

    assert found == []


def test_the_locked_requirements_are_hashed_and_name_no_host():
    files = sorted((ROOT / "requirements").glob("*.txt"))

    assert files
    for path in files:
        text = path.read_text()
        assert "://" not in text, path.name
        pins = re.findall(r"^\S+==", text, re.MULTILINE)
        hashed = re.findall(r"^\S+==.* \\\n    --hash=sha256:", text, re.MULTILINE)
        assert len(pins) == len(hashed) > 0, path.name


def test_every_module_says_what_it_is_for():
    modules = [ROOT / name for name in git_files("src/eventspool/*.py")]
    silent = [m.name for m in modules if m.exists() and not ast.get_docstring(ast.parse(m.read_text()))]

    assert silent == []
