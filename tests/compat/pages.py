"""The tables of the pages in docs/migration."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs/migration"


def read(page: str) -> str:
    return (FOLDER / f"{page}.md").read_text(encoding="utf-8")


def table(page: str, heading: str) -> list[list[str]]:
    """Return the rows of the first table below *heading*, each as its cells."""
    [section] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", read(page), re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| ?(.*?) ?\|$", section, re.MULTILINE)[2:]
    return [[cell.strip() for cell in re.split(r" ?\| ?", row)] for row in rows]


def names(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)
