"""
Wall clocks that step: a child process that calls ``install`` first reads its time through a file shared with the driver.

No preloaded library is needed, and the monotonic clock stays what it is, as on a real machine whose clock is set.
"""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

__all__ = ["SteppedClock", "install"]

_OFFSET = struct.Struct("=d")
_READS = struct.Struct("=q")
_SIZE = _OFFSET.size + _READS.size


class SteppedClock:
    """
    The shared file: an offset in seconds, and how often a stepped time was read.

    Args:
        path: The file; made where it is missing.
    """

    def __init__(self, path: str | Path) -> None:
        file = Path(path)
        if not file.exists():
            file.write_bytes(bytes(_SIZE))
        with file.open("r+b") as opened:
            self._map = mmap.mmap(opened.fileno(), _SIZE)

    @property
    def offset(self) -> float:
        """Seconds by which the clock is wrong."""
        return float(_OFFSET.unpack_from(self._map, 0)[0])

    @offset.setter
    def offset(self, seconds: float) -> None:
        _OFFSET.pack_into(self._map, 0, seconds)

    @property
    def reads(self) -> int:
        """How often a wrong time was read; processes that read at once may count as one."""
        return int(_READS.unpack_from(self._map, _OFFSET.size)[0])

    def note_read(self) -> None:
        """Count one."""
        _READS.pack_into(self._map, _OFFSET.size, self.reads + 1)


def install(path: str) -> None:
    """Replace this process's wall clock. To be called before anything that keeps a reference to it is imported."""
    clock = SteppedClock(path)
    true_ns = time.time_ns

    def stepped_ns() -> int:
        offset = clock.offset
        if offset:
            clock.note_read()
        return true_ns() + int(offset * 1e9)

    time.time_ns = stepped_ns
    time.time = lambda: stepped_ns() / 1e9
