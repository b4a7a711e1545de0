"""What `./run release-check` looks for in a wheel and an sdist, each found where it is wrong."""

from __future__ import annotations

import base64
import hashlib

import pytest

from eventspool import __version__
from tools import release

METADATA = """\
Metadata-Version: 2.4
Name: eventspool
Version: 0.1.0
Summary: Events that survive.
Author: eventspool contributors
License-Expression: Apache-2.0
Keywords: events
Classifier: Programming Language :: Python :: 3.11
Project-URL: Source, https://github.com/eventspool/eventspool
Description-Content-Type: text/markdown

# eventspool

[Reference](https://github.com/eventspool/eventspool/blob/main/docs/reference.md)
"""
INFO = "eventspool-0.1.0.dist-info"


def make_wheel(**changed: str) -> dict[str, bytes]:
    """Return the files of a wheel that is well, but for what is *changed*."""
    files = {
        "eventspool/__init__.py": b"",
        "eventspool/py.typed": b"",
        f"{INFO}/METADATA": METADATA.encode(),
        f"{INFO}/licenses/LICENSE": b"Apache",
    }
    files |= {name: text.encode() for name, text in changed.items()}
    lines = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b'=').decode()},{len(text)}"
        for name, text in files.items()
    ]
    return {**files, f"{INFO}/RECORD": "\n".join([*lines, f"{INFO}/RECORD,,"]).encode()}


def make_sdist(wheel: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files of the sdist from which *wheel* was made."""
    source = {f"src/{name}": text for name, text in wheel.items() if not name.startswith(INFO)}
    return {**dict.fromkeys(release.OF_THE_SDIST, b""), "PKG-INFO": METADATA.encode(), **source}


def test_what_is_well_is_not_complained_of() -> None:
    assert release.inspect_wheel(make_wheel()) == []
    assert release.inspect_sdist(make_sdist(make_wheel()), make_wheel()) == []
    assert release.inspect_changelog(__version__) == []


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("eventspool/a.pyc", "", "is not for others"),
        ("eventspool/.env", "", "is not for others"),
        ("tests/test_a.py", "", "does not belong into a wheel"),
        ("eventspool/a.py", f"x = '{release.ROOT}/a'", "names a folder of this machine"),
        (
            f"{INFO}/METADATA",
            METADATA.replace("https://github.com/eventspool/eventspool/blob", ".."),
            "../main/docs",
        ),
        (f"{INFO}/METADATA", METADATA.replace("Author: eventspool contributors\n", ""), "no author"),
        (f"{INFO}/METADATA", METADATA.replace("Keywords: events\n", ""), "no keywords"),
    ],
)
def test_what_is_wrong_with_a_wheel_is_named(name: str, text: str, complaint: str) -> None:
    assert complaint in "; ".join(release.inspect_wheel(make_wheel(**{name: text})))


def test_a_file_that_record_does_not_tell_is_named() -> None:
    wheel = {**make_wheel(), "eventspool/late.py": b""}

    assert release.inspect_wheel(wheel) == ["RECORD does not tell eventspool/late.py"]


def test_an_sdist_that_holds_something_else_than_the_wheel_is_named() -> None:
    sdist = {**make_sdist(make_wheel()), "src/eventspool/more.py": b"", "tests/test_a.py": b""}
    del sdist["CHANGELOG.md"]
    complaints = "; ".join(release.inspect_sdist(sdist, make_wheel()))

    assert "tests/test_a.py does not belong into an sdist" in complaints
    assert "no CHANGELOG.md in the sdist" in complaints
    assert "wheel and sdist differ" in complaints


def test_a_version_that_the_changelog_does_not_tell_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "waiting_changes", list)

    assert release.inspect_changelog("99.0.0") == ["CHANGELOG.md tells nothing of 99.0.0"]


def test_this_python_is_found_and_no_version_is_forgotten() -> None:
    found, missing = release.find_pythons()

    assert sorted([*found, *missing]) == ["3.11", "3.12", "3.13"]
