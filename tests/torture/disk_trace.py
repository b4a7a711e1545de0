"""
Files as a power cut may leave them: a model of what was written and what was synced, fed with the lines of ``strace``. Pure.

What was synced is there. Of what was not, any part may be: nothing, all, or some writes without the ones before them. What a
failed sync was to cover is gone for good, although it can be read until the power goes: so do kernels that mark pages as clean
when they could not write them, and a later sync that succeeds says nothing about them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator

__all__ = ["OPTIONS", "Call", "TracedFile", "calls_of"]

OPTIONS = ("-f", "-y", "-xx", "-ttt", "-s", "1000000", "-e", "trace=write,pwrite64,fdatasync,fsync,ftruncate")
"""Of ``strace``, for traces that can be read here."""
_SECTOR_BYTES = 512
_LINE = re.compile(r"^(\d+) +([\d.]+) (?:<\.\.\. )?(\w+)(.*)$")
_TARGET = re.compile(r"^\(\d+<([^>]*)>(?:, (.*))?")
_RESULT = re.compile(r"\) += (-?\d+)(?: |$)")
_DATA = re.compile(r'^"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True, slots=True)
class Call:
    """
    A system call that began or ended.

    Args:
        moment: When, in seconds since the epoch.
        name: The call.
        thread: Who called.
        path: The file.
        data: What was to be written.
        offset: Where; for ``ftruncate`` the new length.
        result: What it returned; ``None`` while it is under way.
    """

    moment: float
    name: str
    thread: str
    path: str
    data: bytes = b""
    offset: int = 0
    result: int | None = None


def calls_of(lines: Iterable[str]) -> Iterator[Call]:
    """Yield each call twice: when it begins, without a result, and when it ends."""
    under_way: dict[str, Call] = {}
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        thread, moment, name, rest = match.groups()
        target = _TARGET.match(rest)
        if target is not None:
            path = _unescaped(target[1]).decode(errors="replace")
            call = _begun(float(moment), name, thread, path, target[2] or "")
            under_way[thread] = call
            yield call
        result = _RESULT.search(rest)
        if result is not None and thread in under_way:
            call = under_way.pop(thread)
            yield Call(float(moment), name, thread, call.path, call.data, call.offset, int(result[1]))


def _begun(moment: float, name: str, thread: str, path: str, rest: str) -> Call:
    data = _DATA.match(rest)
    content = _unescaped(data[1]) if data else b""
    number = 0
    if name in ("pwrite64", "ftruncate"):
        [number] = map(int, re.findall(r"(-?\d+)\)?(?: +=.*| *<unfinished.*)?$", rest)[:1])
    return Call(moment, name, thread, path, content, number)


def _unescaped(text: str) -> bytes:
    """Return what ``-xx`` shows as ``\\x2f\\x74``; a text without it as it is."""
    return bytes.fromhex(text.replace("\\x", "")) if text.startswith("\\x") else text.encode()


@dataclass
class TracedFile:
    """One file: what is certain, and the changes that are not."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Call] = field(default_factory=list)
    _covered: dict[str, int] = field(default_factory=dict)

    def take(self, call: Call) -> None:
        """Take a call on this file into account."""
        if call.name in ("fdatasync", "fsync"):
            if call.result is None:
                self._covered[call.thread] = len(self.pending)
            else:
                covered = self._covered.pop(call.thread)
                for change in self.pending[:covered]:
                    if call.result == 0 or change.name == "ftruncate":
                        _apply(self.durable, change)
                del self.pending[:covered]
                self._covered = {t: max(n - covered, 0) for t, n in self._covered.items()}
        elif call.result is not None and call.result >= 0:
            self.pending.append(call)

    def after_power_cut(self, dice: random.Random, keep: float) -> bytes:
        """Return what is on the disk when each unsynced write was kept with probability *keep*; some are torn."""
        image = bytearray(self.durable)
        for change in self.pending:
            if dice.random() < keep:
                torn = keep < 1.0 and dice.random() < 0.2
                _apply(image, change, _SECTOR_BYTES * dice.randrange(8) if torn else None)
        return bytes(image)


def _apply(image: bytearray, change: Call, most_bytes: int | None = None) -> None:
    if change.name == "ftruncate":
        del image[change.offset :]
        image.extend(bytes(change.offset - len(image)))
        return
    data = change.data[: change.result][:most_bytes]
    image.extend(bytes(max(change.offset - len(image), 0)))
    image[change.offset : change.offset + len(data)] = data
