"""The order of the pages, and what else tools/documentation.py makes of them, without building the site."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from pages.blocks import ROOT
from tools import documentation, pictures

if TYPE_CHECKING:
    from pathlib import Path

DOCS = ROOT / "docs"
README = ROOT.joinpath("README.md").read_text(encoding="utf-8")
URLS = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]


def test_every_page_is_in_the_navigation_once() -> None:
    placed = [page for pages in documentation.order_pages(DOCS).values() for page in pages]

    assert sorted(placed) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.glob("**/*.md"))


def test_pages_that_arrive_are_taken_and_pages_that_are_not_there_are_not_missed(tmp_path: Path) -> None:
    for name in ("frameworks/pyramid.md", "frameworks/django.md", "surprise.md", "decisions/0001-x.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    assert documentation.order_pages(tmp_path) == {
        "Frameworks": ["frameworks/django.md", "frameworks/pyramid.md"],
        "Guides": ["surprise.md"],
        "Project": ["decisions/0001-x.md"],
    }


@pytest.mark.parametrize(
    ("link", "led"),
    [
        ("[a](guarantees.md#when)", "[a](guarantees.md#when)"),
        ("[a](decisions)", "[a](REPOSITORY/tree/main/docs/decisions)"),
        ("[a](../deploy/compose.yaml)", "[a](REPOSITORY/blob/main/deploy/compose.yaml)"),
        ("[a](../CONTRIBUTING.md#tests)", "[a](REPOSITORY/blob/main/CONTRIBUTING.md#tests)"),
        ("[a](https://x.example/y)", "[a](https://x.example/y)"),
    ],
)
def test_a_link_that_leaves_the_pages_leads_to_the_repository(link: str, led: str) -> None:
    assert documentation.lead_out(link, "operations.md") == led.replace(
        "REPOSITORY", documentation.REPOSITORY
    )


@pytest.mark.parametrize(
    ("page", "summary"),
    [
        ("# A\n\nOne [thing](x.md). Two.\n", "One thing."),
        ("# A\n\n```sh\nx\n```\n\n![p](p.svg)\n\n**Context.** It was so. Then.\n", "It was so."),
        ("# A\n\n## Context\n\n- list\n\nA process may die.\n", "A process may die."),
    ],
)
def test_a_page_is_told_by_its_first_sentence(page: str, summary: str) -> None:
    assert documentation.summary_of(page) == summary


def test_every_page_has_a_title_and_a_first_sentence() -> None:
    for path in DOCS.glob("**/*.md"):
        text = path.read_text(encoding="utf-8")
        assert documentation.title_of(text)
        assert documentation.summary_of(text), path


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_diagram_is_what_its_program_draws(name: str) -> None:
    drawn = str(pictures.PICTURES[name]())

    assert (pictures.FOLDER / f"{name}.svg").read_text(encoding="utf-8") == drawn, (
        "run: python tools/pictures.py"
    )


def test_the_repository_has_one_address() -> None:
    assert URLS["Source"] == URLS["Homepage"] == documentation.REPOSITORY
    assert all(url.startswith((documentation.REPOSITORY, URLS["Documentation"])) for url in URLS.values())
    assert f"site_url: {URLS['Documentation']}\n" in ROOT.joinpath("mkdocs.yml").read_text(encoding="utf-8")


LINKS = re.findall(r"\]\(([^)\s]+)\)|(?:src|href|srcset)=\"([^\"\s]+)\"", README)


@pytest.mark.parametrize("link", sorted({one or other for one, other in LINKS}))
def test_a_link_of_the_readme_works_on_pypi_and_leads_to_a_file(link: str) -> None:
    """PyPI shows the README without the repository, so a relative link is dead there."""
    repository = documentation.REPOSITORY
    raw = repository.replace("//github.com/", "//raw.githubusercontent.com/")
    if link.startswith("#"):
        headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
        assert link[1:] in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
        return
    assert link.startswith("https://"), f"{link} is relative"
    if link.startswith(repository) and link != repository:
        match = re.fullmatch(rf"{repository}/(?:blob|tree)/main/([^#?]+)(#\S*)?", link)
        assert match, link
        assert (ROOT / match[1]).exists() or documentation.is_expected(ROOT / match[1])
    elif link.startswith(raw):
        assert ROOT.joinpath(link.removeprefix(f"{raw}/main/")).is_file()
    elif link.startswith(URLS["Documentation"]):
        page = link.removeprefix(URLS["Documentation"]).partition("#")[0].rstrip("/")
        assert (DOCS / f"{page or 'index'}.md").is_file() or (DOCS / page / "index.md").is_file()
    else:
        assert re.fullmatch(r"https://(www\.)?[a-z0-9.-]+\.[a-z]+(/\S*)?", link)


def test_the_pictures_of_the_readme_are_small() -> None:
    for path in pictures.FOLDER.iterdir():
        assert path.stat().st_size < 200_000, path.name
