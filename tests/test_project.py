"""Promises about the whole package: light to import, small in surface, clean as a wheel, free of build paths."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import eventspool

ROOT = Path(__file__).resolve().parent.parent

_PROBE = """
import json, sys, time
before = set(sys.modules)
events = []
sys.addaudithook(lambda name, args: events.append(name))
start = time.perf_counter()
import eventspool
seconds = time.perf_counter() - start
print(json.dumps({
    "seconds": seconds,
    "modules": sorted(set(sys.modules) - before),
    "threads": len(sys._current_frames()),
    "events": sorted(set(events)),
}))
"""


def probe_import() -> dict:
    """Import eventspool in a fresh interpreter and report what that did."""
    done = subprocess.run([sys.executable, "-c", _PROBE], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def git_files(*options: str) -> list[str]:
    """List files that git knows, relative to the root."""
    # The checkout may belong to somebody else than the one who runs the tests, as in a container.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return [name for name in done.stdout.split("\0") if name]


def test_importing_is_light():
    """What costs milliseconds or has side effects is imported by the call that needs it."""
    heavy = {
        "asyncio",
        "click",
        "http.client",
        "orjson",
        "redis",
        "rich",
        "socket",
        "sqlite3",
        "ssl",
        "urllib3",
    }

    assert heavy.intersection(probe_import()["modules"]) == set()


def test_importing_starts_no_thread_and_opens_no_socket():
    report = probe_import()

    assert report["threads"] == 1
    assert {"socket.__new__", "socket.connect", "subprocess.Popen", "os.fork"}.intersection(
        report["events"]
    ) == set()


def test_importing_takes_less_than_60_milliseconds():
    """The best of several tries: the bound is for the code, not for how busy the machine is."""
    assert min(probe_import()["seconds"] for _ in range(5)) < 0.060


def test_every_exported_name_exists_and_says_that_it_is_public():
    """Reprs, error messages and pickles name `eventspool.X`, the path that users may rely on."""
    assert list(eventspool.__all__) == sorted(eventspool.__all__, key=str)
    for name in eventspool.__all__:
        value = getattr(eventspool, name)
        if isinstance(value, type) or callable(value):
            assert value.__module__ == "eventspool", name


def test_the_exported_names_are_the_documented_ones():
    documented = """
        AsyncClient Client ClientStats FlushResult Job JobState Queue QueueStats
        JobOpts QueueOpts RedisOpts SQLiteOpts
        ConfigError DeliveryError EventError EventSpoolError QueueError QueueUnavailable RefusedError
        init open_queue track identify page screen group alias flush close __version__
    """

    assert sorted(eventspool.__all__) == sorted(documented.split())


def test_nothing_else_looks_public():
    """Every module is private but for those that the documentation names."""
    public = {path.stem for path in (ROOT / "src/eventspool").iterdir() if not path.name.startswith("_")}

    assert public - {"py", "testing", "integrations"} == set()


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


def test_the_wheel_is_small(wheel):
    """The sample of the CDNOW purchases travels with the package, the whole file stays in the repository."""
    assert wheel.stat().st_size < 500_000


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
    modules = [name for name in git_files("src/eventspool/*.py") if (ROOT / name).exists()]

    assert [name for name in modules if not (ROOT / name).read_text().lstrip("r").startswith('"""')] == []
