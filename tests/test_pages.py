"""What the pages name is there: files, and the pages that they lead to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.documentation import is_expected

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]


def named_files(text: str) -> set[str]:
    """Return the Python files that *text* names."""
    return set(re.findall(r"(?<![\w/])_?[a-z]\w*(?:/\w+)*\.py\b", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_to_a_file(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))

    there = [page.parent.joinpath(link).resolve() for link in links]

    assert [path for path in there if not path.exists() and not is_expected(path)] == []


@pytest.mark.parametrize(
    "name", sorted(named_files((ROOT / "docs/architecture.md").read_text(encoding="utf-8")))
)
def test_each_file_on_an_events_way_exists(name):
    assert (ROOT / "src/eventspool" / name).is_file()


def test_the_walk_names_files_of_every_step():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    folders = {name.partition("/")[0] for name in named_files(text)}

    assert folders >= {"_events", "_buffering", "_backends", "_delivery", "_settling", "_guest", "_operate"}


def test_each_module_that_contributors_are_told_of_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    [table] = re.findall(r"    integrations(?:.*\n)+?(?=Decisions)", text)
    words = re.findall(r"^    ((?:\w+(?: · )?)+)", table, re.MULTILINE)
    names = [name for line in words for name in line.split(" · ")]
    source = {path.stem for path in (ROOT / "src/eventspool").iterdir()} - {
        "__pycache__",
        "py",
        "__init__",
        "_version",
    }

    assert sorted(names) == sorted(source)
