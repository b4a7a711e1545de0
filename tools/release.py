"""
What is checked before a release: `./run release-check`. It builds wheel and sdist, looks into both, and tries both out.

Each is installed into a fresh environment of each Python that the classifiers name and this machine has, without a network,
and delivers an event there (`tools/smoke.py`). `--quick` does it with the wheel on this Python alone, which is what each
commit runs. Nothing is published: `CONTRIBUTING.md` says how that is done.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.metadata import Metadata
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]
SMALL = 1_100_000
"""Most bytes of a wheel."""
OF_THE_SDIST = {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
"""What an sdist holds besides `src`. The tests need the whole repository, so whoever wants to run them takes a tag of it."""
COMMAND_NEEDS = ["click", "rich"]


def say(text: str) -> None:
    """Print a line."""
    print(f"release-check: {text}", flush=True)  # noqa: T201


def run(*command: str | Path, folder: Path = ROOT, **environment: str) -> str:
    """Run *command* and return what it prints. A failure shows all of it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE_"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**env, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"release-check: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(folder: Path) -> tuple[Path, Path]:
    """Build wheel and sdist in *folder*."""
    run(sys.executable, "-m", "hatchling", "build", "-d", folder)
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    say(f"{wheel.name} ({wheel.stat().st_size:,} bytes), {sdist.name} ({sdist.stat().st_size:,} bytes)")
    return wheel, sdist


def read_wheel(path: Path) -> dict[str, bytes]:
    """Return name -> content."""
    with zipfile.ZipFile(path) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


def read_sdist(path: Path) -> dict[str, bytes]:
    """Return name -> content, without the folder that holds all."""
    with tarfile.open(path) as sdist:
        files = [member for member in sdist.getmembers() if member.isfile()]
        return {
            member.name.partition("/")[2]: sdist.extractfile(member).read()  # type: ignore[union-attr]
            for member in files
        }


def inspect_metadata(text: bytes) -> list[str]:
    """Return what is wrong with the metadata."""
    found = Metadata.from_email(text, validate=True)  # raises for what the specification forbids
    wrong = [
        f"no {name} in the metadata"
        for name in ("summary", "keywords", "project_urls", "classifiers")
        if not getattr(found, name)
    ]
    if not (found.author or found.author_email):
        wrong.append("no author in the metadata")
    if found.license_expression != "Apache-2.0" or found.description_content_type != "text/markdown":
        wrong.append("licence, or the form of the description")
    relative = re.findall(r"\]\((?!https://|#)([^)]*)\)", found.description or "")
    return wrong + [f"the description has a link that PyPI cannot follow: {link}" for link in relative]


def inspect_contents(files: dict[str, bytes]) -> list[str]:
    """Return what should not be in a wheel or an sdist, whichever *files* are those of."""
    homes = [f"{path}/".encode() for path in (ROOT, Path.home()) if len(path.parts) > 1]
    wrong = [
        f"{name} names a folder of this machine"
        for name, content in files.items()
        if any(home in content for home in homes)
    ]
    wrong += [
        f"{name} is not for others"
        for name in files
        if re.search(r"\.py[co]$|__pycache__|(^|/)\.(?!gitignore$)", name)
    ]
    return wrong


def inspect_wheel(files: dict[str, bytes]) -> list[str]:
    """Return what is wrong with a wheel."""
    [record] = [name for name in files if name.endswith(".dist-info/RECORD")]
    folder = record.rpartition("/")[0]
    wrong = [
        f"{name} does not belong into a wheel"
        for name in files
        if not name.startswith(("eventspool/", folder))
    ]
    wrong += [
        f"no {name}" for name in ("eventspool/py.typed", f"{folder}/licenses/LICENSE") if name not in files
    ]
    listed = {row[0]: row[1] for row in csv.reader(files[record].decode().splitlines())}
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        if name != record and listed.get(name) != f"sha256={digest}":
            wrong.append(f"RECORD does not tell {name}")
    return wrong + inspect_metadata(files[f"{folder}/METADATA"]) + inspect_contents(files)


def inspect_sdist(files: dict[str, bytes], wheel: dict[str, bytes]) -> list[str]:
    """Return what is wrong with an sdist, whose source is to be that of the *wheel*."""
    wrong = [
        f"{name} does not belong into an sdist"
        for name in files
        if name not in OF_THE_SDIST and not name.startswith("src/")
    ]
    wrong += [f"no {name} in the sdist" for name in OF_THE_SDIST - files.keys()]
    package = {name: content for name, content in wheel.items() if name.startswith("eventspool/")}
    source = {
        name.removeprefix("src/"): content for name, content in files.items() if name.startswith("src/")
    }
    if package != source:
        wrong.append(f"wheel and sdist differ: {sorted(package.items() ^ source.items())[:1]}")
    return wrong + inspect_metadata(files["PKG-INFO"]) + inspect_contents(files)


def waiting_changes() -> list[str]:
    """Return the changes that no section of the changelog tells yet."""
    return sorted(path.name for path in ROOT.glob("changelog.d/*.md") if path.name != "README.md")


def inspect_changelog(version: str) -> list[str]:
    """Return what the changelog lacks: nothing, where the changes of *version* still wait to be collected."""
    text = ROOT.joinpath("CHANGELOG.md").read_text(encoding="utf-8")
    told = re.search(rf"^## {re.escape(version)} ", text, re.MULTILINE)
    return [] if told or waiting_changes() else [f"CHANGELOG.md tells nothing of {version}"]


def find_pythons() -> tuple[dict[str, Path], list[str]]:
    """Return version -> interpreter, and the versions of the classifiers that this machine does not have."""
    wanted = re.findall(r":: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
    found = {}
    for version in wanted:
        places = [
            shutil.which(f"python{version}"),
            *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python")),
        ]
        places += sorted(Path.home().glob(f".local/share/uv/python/cpython-{version}.*/bin/python{version}"))
        for place in filter(None, places):
            asked = [str(place), "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
            done = subprocess.run(asked, capture_output=True, text=True, check=False)
            if done.stdout.strip() == version:
                found[version] = Path(place)
                break
    return found, [version for version in wanted if version not in found]


def copy_distributions(names: list[str], folder: Path) -> None:
    """Copy what is installed here, and what it needs, into *folder*: packages of pure Python, for any Python."""
    folder.mkdir(exist_ok=True, parents=True)
    seen, wanted = set(), list(names)
    while wanted:
        name = wanted.pop().lower().replace("_", "-")
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # for another Python, by its marker
        if name in seen:
            continue
        seen.add(name)
        for file in found.files or []:
            if not file.parts[0].startswith("..") and "__pycache__" not in file.parts:
                target = folder / file
                target.parent.mkdir(exist_ok=True, parents=True)
                shutil.copyfile(found.locate_file(file), target)
        requirements = [Requirement(text) for text in found.requires or []]
        wanted += [
            each.name for each in requirements if not each.marker or each.marker.evaluate({"extra": ""})
        ]


def try_out(python: Path, archive: Path, folder: Path) -> None:
    """Install *archive* into a fresh environment, offline; import it, ask for its version, deliver an event."""
    venv, backend, cwd = folder / "venv", folder / "backend", folder / "elsewhere"
    run(python, "-m", "venv", "--without-pip", venv)
    inside = venv / "bin/python"
    cwd.mkdir()
    options = ["--no-index", "--no-deps", "--no-cache-dir"]
    environment = {}
    if archive.suffix == ".gz":
        copy_distributions(["hatchling"], backend)
        options += ["--no-build-isolation", "--no-compile"]
        environment = {"PYTHONPATH": str(backend)}
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        inside,
        "install",
        "-q",
        *options,
        archive,
        folder=cwd,
        **environment,
    )
    copy_distributions(
        COMMAND_NEEDS,
        Path(run(inside, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()),
    )
    version = run(venv / "bin/eventspool", "--version", folder=cwd).strip()
    assert version.startswith("eventspool "), version
    shutil.copy(ROOT / "tools/smoke.py", cwd)
    say(f"{archive.name}: {run(inside, '-I', cwd / 'smoke.py', folder=cwd).strip()}")


def main(arguments: list[str]) -> int:
    """Check, say what is wrong, and return the exit status."""
    parser = argparse.ArgumentParser(prog="./run release-check", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="try out the wheel alone, on this Python alone")
    quick = parser.parse_args(arguments).quick
    with tempfile.TemporaryDirectory(prefix="eventspool-release-") as name:
        folder = Path(name)
        wheel, sdist = build(folder / "dist")
        of_wheel, of_sdist = read_wheel(wheel), read_sdist(sdist)
        version = wheel.name.split("-")[1]
        wrong = inspect_wheel(of_wheel) + inspect_sdist(of_sdist, of_wheel) + inspect_changelog(version)
        if wheel.stat().st_size > SMALL:
            wrong.append(f"the wheel has more than {SMALL:,} bytes")
        if wrong:
            raise SystemExit("\n".join(f"release-check: {each}" for each in wrong))
        pythons, missing = find_pythons()
        if quick:
            pythons, missing = {"this": Path(sys.executable)}, []
        for number, (archive, python) in enumerate(
            (archive, python)
            for archive in ([wheel] if quick else [wheel, sdist])
            for python in pythons.values()
        ):
            try_out(python, archive, folder / str(number))
    for each in missing:
        say(f"Python {each} is not on this machine: not tried out")
    waiting = waiting_changes()
    if waiting:
        say(f"not in CHANGELOG.md yet (`towncrier build` puts it there): {', '.join(waiting)}")
    say(f"wheel and sdist of {version} are well")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
