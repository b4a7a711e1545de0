"""
Code blocks of the pages, and what a page says of them for the test that runs them (tests/test_docs_code.py).

A page says it in HTML comments, which no reader sees, right above a block:

``<!-- no-run: WHY -->``
    The block is not run. The reason is for the next writer.
``<!-- file: examples/flask/app.py -->``
    The block stands, line for line, in that file, whose own tests run it.
``<!-- setup CODE -->``
    Python code of several lines that is run before the block, as a reader's program would have it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]

_BLOCK = re.compile(
    r"(?:<!--\s*(?P<word>no-run|file|setup)(?::|\s)(?P<said>(?:(?!-->).)*?)\s*-->\s*\n\s*)?"
    r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)(?P=fence)[ \t]*$",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """
    A fenced block.

    Attributes:
        page: Its page, from the root of the repository.
        line: The line of its first line of code.
        language: The first word behind the fence, or "".
        code: Its text, without the indentation of the fence.
        word: What the page says of it: ``no-run``, ``file``, ``setup``, or "".
        said: The reason, the file, or the code.
    """

    page: str
    line: int
    language: str
    code: str
    word: str = ""
    said: str = ""

    @property
    def place(self) -> str:
        """Where it stands, for a message."""
        return f"{self.page}:{self.line}"


def read_blocks(path: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(
            path.relative_to(ROOT).as_posix(),
            text.count("\n", 0, match.start("code")) + 1,
            match["info"].split()[0] if match["info"].strip() else "",
            re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE),
            match["word"] or "",
            (match["said"] or "").strip(),
        )
        for match in _BLOCK.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in read_blocks(page)]
