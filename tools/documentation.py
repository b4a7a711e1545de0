"""
What the documentation site needs beyond its pages: the order of the pages, links that leave `docs`, and `llms.txt`.

MkDocs calls the functions `on_…` (its hooks) while it builds the site; `mkdocs.yml` names this file. The pages stay as they
are in `docs`, where GitHub shows them, too: a new page in a folder that is named here is in the navigation by itself.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/eventspool/eventspool"
"""Where a link to a file outside of `docs` leads. `[project.urls]` has the same address, and a test compares the two."""

NAVIGATION = {
    "Start": ["index.md", "quickstart.md", "concepts.md", "glossary.md"],
    "Frameworks": [
        "frameworks/index.md",
        *(f"frameworks/{name}.md" for name in ("django", "fastapi", "flask", "celery", "aws-lambda")),
        "frameworks/*.md",
    ],
    "Guides": [
        "troubleshooting.md",
        "failed-queue.md",
        "move-to-redis.md",
        "testing.md",
        "scaling.md",
        "partitions.md",
        "ordering.md",
        "faq.md",
        "*.md",  # a page that no line here names
    ],
    "Operations": [
        "operations.md",
        "json.md",
        "topologies.md",
        "dashboard.md",
        "observability.md",
        "runbooks.md",
        "guarantees.md",
        "security.md",
    ],
    "Migration": ["migration/index.md", "migration/*.md"],
    "Reference": ["reference.md"],
    "Project": ["architecture.md", "benchmarks.md", "mutation-testing.md", "decisions/*.md"],
}
"""Section -> its pages, in order. A page is where it is first named, and one that is not there is left out."""

BOOST = {"Start": 2.0, "Frameworks": 2.0, "Guides": 2.0, "Migration": 1.5, "Reference": 0.8, "Project": 0.3}
"""Section -> how much more a word in its pages counts for the search than one in a page of another section."""


def order_pages(folder: Path) -> dict[str, list[str]]:
    """Return section -> the pages of *folder* that it has. Every page is in exactly one section."""
    named = {page for pages in NAVIGATION.values() for page in pages}
    taken: set[str] = set()
    sections = {}
    for section, patterns in NAVIGATION.items():
        pages: list[str] = []
        for pattern in patterns:
            found = sorted(path.relative_to(folder).as_posix() for path in folder.glob(pattern))
            pages += [page for page in found if page not in taken and (page == pattern or page not in named)]
            taken.update(pages)
        if pages:
            sections[section] = pages
    return sections


def is_expected(path: Path) -> bool:
    """Return whether the navigation names the page *path*, which may not be there yet."""
    return any(path == ROOT / "docs" / page for pages in NAVIGATION.values() for page in pages)


def title_of(text: str) -> str:
    """Return the first heading of a page."""
    return re.search(r"^# (.+)$", text, re.MULTILINE)[1].strip()  # type: ignore[index]


def summary_of(text: str) -> str:
    """Return the first sentence below the first heading, without links."""
    body = re.sub(r"<!--.*?-->|```.*?```|\*\*Context\.\*\* ", "", text, flags=re.DOTALL)
    body = re.split(r"^# .*$", body, maxsplit=1, flags=re.MULTILINE)[-1]
    for paragraph in re.split(r"\n\s*\n", body):
        if re.match(r"[\w`*\[]", plain := re.sub(r"!\[[^\]]*\]\([^)]*\)", "", paragraph).strip()):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)|\*\*", r"\1", " ".join(plain.split()))
            return re.split(r"(?<=[.:])\s", words)[0].rstrip(":")
    return ""


def lead_out(text: str, page: str) -> str:
    """
    Return *text*, the Markdown of *page*, with links to files outside of `docs` that lead to the repository.

    A link to a page that has its place in the navigation and is not written yet becomes its text.
    """

    def drop(match: re.Match[str]) -> str:
        path = (ROOT / "docs" / page).parent.joinpath(match[2]).resolve()
        return match[0] if path.exists() or not is_expected(path) else match[1]

    def replace(match: re.Match[str]) -> str:
        target, anchor = match[2], match[3] or ""
        path = (ROOT / "docs" / page).parent.joinpath(target).resolve()
        if path.is_relative_to(ROOT / "docs") and not path.is_dir():
            return match[0]
        kind = "tree" if path.is_dir() else "blob"
        return f"{match[1]}{REPOSITORY}/{kind}/main/{path.relative_to(ROOT).as_posix()}{anchor})"

    text = re.sub(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+\.md)(?:#[^)\s]*)?\)", drop, text)
    return re.sub(r"(\]\()((?:\.\./)[^)#\s]*|[\w-]+)(#[^)\s]*)?\)", replace, text)


def write_index(pages: dict[str, list[str]], texts: dict[str, str], config: MkDocsConfig) -> str:
    """Return `llms.txt`: the navigation with a sentence about each page, for programs that read it (llmstxt.org)."""
    lines = [f"# {config.site_name}", "", f"> {config.site_description}"]
    for section, names in pages.items():
        lines += ["", f"## {section}", ""]
        for name in names:
            summary = summary_of(texts[name])
            lines.append(
                f"- [{title_of(texts[name])}]({config.site_url}{name}){': ' if summary else ''}{summary}"
            )
    return "\n".join(lines) + "\n"


def _sections(config: MkDocsConfig) -> Iterator[tuple[str, list[str]]]:
    yield from order_pages(Path(config.docs_dir)).items()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Set the navigation."""
    config.nav = [{section: pages} for section, pages in _sections(config)]
    return config


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Mend the links of a page that leave `docs`, and say how much it counts for the search."""
    name = page.file.src_uri
    section = next(section for section, pages in _sections(config) if name in pages)
    page.meta.setdefault("search", {"boost": BOOST.get(section, 1.0)})
    return lead_out(markdown, name)


def on_post_build(config: MkDocsConfig, **_: Any) -> None:
    """Write `llms.txt`, and beside each page its Markdown, to which `llms.txt` leads."""
    pages = dict(_sections(config))
    texts = {
        name: lead_out(Path(config.docs_dir, name).read_text(encoding="utf-8"), name)
        for names in pages.values()
        for name in names
    }
    site = Path(config.site_dir)
    for name, text in texts.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (site / "llms.txt").write_text(write_index(pages, texts, config), encoding="utf-8")
