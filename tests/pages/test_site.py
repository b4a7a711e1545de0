"""The built site: it asks no other host for anything, no link in it is dead, and its pages and llms.txt are those of docs/."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import yaml

from pages.blocks import ROOT
from pages.conftest import build
from tools import documentation

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BASE = "http://site.example/"
FETCHED = {"src", "srcset", "data", "poster", "action"}
"""Attributes whose addresses a browser asks for by itself, besides those of a <link>."""
KINDS_THAT_ASK_NOTHING = {"canonical", "prev", "next", "edit", "alternate"}
"""Kinds of a <link> which a browser does not follow."""


class Addresses(HTMLParser):
    """The ids of a page, what it links to, and what it fetches."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.styles = ""
        self._in_style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.update(given[name] for name in ("id", "name") if given.get(name))
        self.fetched += [value for name, value in given.items() if name in FETCHED]
        self.styles += given.get("style", "")
        self._in_style = tag == "style"
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag == "link" and not set(given.get("rel", "").split()) & KINDS_THAT_ASK_NOTHING:
            self.fetched.append(given["href"])

    def handle_data(self, data: str) -> None:
        self.styles += data * self._in_style


def address_of(path: Path, site: Path) -> str:
    """Return where the site shows a file."""
    return urljoin(BASE, path.relative_to(site).as_posix().removesuffix("index.html"))


@pytest.fixture(scope="module")
def pages(built: Path) -> dict[str, Addresses]:
    """Return address -> what stands in the page."""
    return {
        address_of(path, built): Addresses(path.read_text(encoding="utf-8"))
        for path in built.rglob("*.html")
        if path.name != "404.html"  # whose addresses are those of the site as it is published
    }


def outside(addresses: Iterable[str]) -> list[str]:
    return [each for each in addresses if re.match(r"(?:[a-z]+:)?//", each)]


def test_a_dead_anchor_fails_the_build(tmp_path: Path) -> None:
    tmp_path.joinpath("docs").mkdir()
    tmp_path.joinpath("docs/index.md").write_text("# A page\n\n[Somewhere](#nowhere)\n")
    settings = {
        "INHERIT": str(ROOT / "mkdocs.yml"),
        "docs_dir": str(tmp_path / "docs"),
        "hooks": [documentation.__file__],
    }
    tmp_path.joinpath("mkdocs.yml").write_text(yaml.safe_dump(settings))
    done = build(tmp_path / "site", tmp_path / "mkdocs.yml")

    assert "no such anchor" in done.stderr or "'#nowhere'" in done.stderr
    assert done.returncode != 0


def test_no_page_asks_another_host_for_anything(pages: dict[str, Addresses], built: Path) -> None:
    assert {page: found for page, read in pages.items() if (found := outside(read.fetched))} == {}
    for text in [read.styles for read in pages.values()] + [
        path.read_text(encoding="utf-8") for path in built.rglob("*.css")
    ]:
        assert outside(re.findall(r"url\([\"']?([^)\"']+)", text)) == []
        assert re.findall(r"@import\s+(?:url\()?[\"']?https?:", text) == []
    for path in built.rglob("*.svg"):
        assert re.findall(r"(?:href|src)=\"https?://|url\(['\"]?https?:", path.read_text("utf-8")) == []


def test_no_link_is_dead(pages: dict[str, Addresses], built: Path) -> None:
    dead = []
    for address, page in pages.items():
        for link in page.links:
            split = urlsplit(urljoin(address, link))
            if split.netloc != urlsplit(BASE).netloc:
                continue
            target = split._replace(fragment="").geturl()
            anchor = unquote(split.fragment)
            if target in pages:
                if anchor and anchor not in pages[target].ids and not anchor.startswith("__"):
                    dead.append(f"{address}: {link}: no such anchor")
            elif not built.joinpath(unquote(split.path[1:])).is_file():
                dead.append(f"{address}: {link}")

    assert dead == []


def test_a_link_that_leaves_the_site_has_a_form_that_works(pages: dict[str, Addresses]) -> None:
    wrong = []
    for page in pages.values():
        for link in page.links:
            if not link.startswith("http"):
                continue
            if link.startswith(documentation.REPOSITORY + "/"):
                named = re.fullmatch(rf"{documentation.REPOSITORY}/(?:blob|tree)/main/([^#]+)(#.*)?", link)
                wrong += [link] * (not named or not (ROOT / named[1]).exists())
            else:
                wrong += [link] * (not re.fullmatch(r"https://[\w.-]+\.[a-z]+(/\S*)?", link))

    assert wrong == []


def test_the_site_has_a_page_for_each_of_the_documents(pages: dict[str, Addresses]) -> None:
    names = {page for group in documentation.order_pages(ROOT / "docs").values() for page in group}
    expected = {
        urljoin(
            BASE, re.sub(r"(^|/)index\.md$|\.md$", lambda m: m[1] or ("/" if m[0] == ".md" else ""), name)
        )
        for name in names
    }

    assert set(pages) == expected


def test_llms_txt_names_each_page_of_the_navigation_and_its_markdown_is_there(built: Path) -> None:
    text = built.joinpath("llms.txt").read_text(encoding="utf-8")
    url = yaml.load(ROOT.joinpath("mkdocs.yml").read_text(encoding="utf-8"), yaml.SafeLoader)["site_url"]
    links = re.findall(r"^- \[[^\]]+\]\(([^)]+)\)(?:: .+)?$", text, re.MULTILINE)
    sections = documentation.order_pages(ROOT / "docs")

    assert text.startswith("# eventspool\n\n> ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == list(sections)
    assert links == [f"{url}{page}" for pages in sections.values() for page in pages]
    for link in links:
        assert (
            built.joinpath(link.removeprefix(url))
            .read_text(encoding="utf-8")
            .startswith(("# ", "<!--", "---"))
        )
