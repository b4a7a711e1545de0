"""What ``eventspool send`` keeps in files of its own: the lines that were refused, and how far it has come."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import IO, Any

from eventspool._cli.failure import Failed

__all__ = ["Place", "Rejects"]

_HEAD_BYTES = 1 << 16
"""Bytes at the beginning of a file by which it is known again."""


class Rejects:
    """
    The file that gets the lines that were refused, as they were, so that it can be mended and sent. It is made with the first.

    Args:
        path: The file; ``None`` for none.

    Raises:
        Failed: It is there already.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        if path is not None and Path(path).exists():
            raise Failed(
                f"{path} is there already, perhaps with lines that were refused before: name another file",
                "files",
            )

    def add(self, raw: bytes, header: bytes) -> None:
        """Write a record, and *header* before the first one."""
        if self._path is None:
            return
        if self._file is None:
            self._file = Path(self._path).open("xb")  # noqa: SIM115 - it is closed with this
            self._file.write(header)
        self._file.write(raw)

    def close(self) -> None:
        """Close the file, where there is one."""
        if self._file is not None:
            self._file.close()


class Place:
    """
    How many records of a file are taken care of, for a run that was interrupted. It stands in ``FILE.eventspool-resume``.

    Args:
        path: The file that is sent; ``None`` where the run cannot be resumed.

    Raises:
        Failed: The file is another one than that which was begun.
    """

    def __init__(self, path: str | None) -> None:
        self._path = None if path is None else Path(path)
        self.done = 0
        """Records of the file that need not be sent again."""
        if self._path is None:
            return
        self._state = self._path.with_name(f"{self._path.name}.eventspool-resume")
        with contextlib.suppress(FileNotFoundError):
            self._load(self._path)

    def note(self, done: int) -> None:
        """Remember that *done* records are taken care of."""
        if self._path is None:
            return
        head_bytes = min(_HEAD_BYTES, self._path.stat().st_size)
        known = {"records": done, "head_bytes": head_bytes, "head": _hash(self._path, head_bytes)}
        part = self._state.with_name(f"{self._state.name}.part")
        part.write_text(json.dumps(known), "utf-8")
        part.replace(self._state)

    def forget(self) -> None:
        """The file is sent as a whole: forget it."""
        if self._path is not None:
            self._state.unlink(missing_ok=True)

    def _load(self, path: Path) -> None:
        text = self._state.read_text("utf-8")
        try:
            known: Any = json.loads(text)
            same = known["head"] == _hash(path, int(known["head_bytes"]))
            self.done = int(known["records"])
        except (ValueError, KeyError, TypeError):
            same = False
        if not same:
            raise Failed(
                f"{path.name} is not the file of which {self._state.name} says how far it was sent: remove the latter to "
                "send it from the start",
                "files",
            )


def _hash(path: Path, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(size)).hexdigest()
