"""One change of one file, and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Mutant"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """
    The bytes from *start* to *end* of *path* become *replacement*.

    Args:
        path: The file, from the package's folder.
        lines: Lines, from 1, whose execution may show the change: a test that runs none of them is not asked.
        start: Offset of the first byte.
        end: Offset behind the last byte.
        replacement: The new bytes.
    """

    path: str
    lines: tuple[int, ...]
    start: int
    end: int
    replacement: bytes

    def apply(self, source: bytes) -> bytes:
        """Return the mutated source."""
        return source[: self.start] + self.replacement + source[self.end :]

    def was_and_becomes(self, package: Path) -> tuple[str, str]:
        """Return the changed lines without their indentation, before and after."""
        source = (package / self.path).read_bytes()
        first = source.rfind(b"\n", 0, self.start) + 1
        last = source.find(b"\n", self.end)
        last = len(source) if last < 0 else last
        before = source[first:last].decode()
        after = (source[first : self.start] + self.replacement + source[self.end : last]).decode()
        return " ".join(before.split()), " ".join(after.split())
