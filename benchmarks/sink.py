"""The Python side of ``sink.c``: compile it, run it, and ask what it stored."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import struct
import subprocess
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.errors import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

__all__ = ["Sink", "read_orders"]

_SOURCE = Path(__file__).with_name("sink.c")
_ORDER = re.compile(rb"o-(\d{8})(?!\d)")
_LENGTH = struct.Struct("=Q")


class Sink:
    """
    A data plane that stores whatever it is sent and is never the bottleneck, as a context manager.

    It is a process of its own and ends with this one, even when that is killed.

    Args:
        folder: Where the program is built.
    """

    def __init__(self, folder: Path) -> None:
        self._program = folder / "sink"
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        """The port on 127.0.0.1; the same after ``stop`` and ``start``."""

    @property
    def url(self) -> str:
        """The data plane's URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The sink's process, while there is one."""
        return self._process.pid if self._process else None

    def start(self) -> Self:
        """Build the program, if that was not done, and start it."""
        if self._process is None:
            if not self._program.exists():
                _compile(self._program)
            command = [self._program, str(self.port)]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
            assert self._process.stdout is not None
            line = self._process.stdout.readline()
            if not line:
                self.stop()
                raise BenchmarkError("the sink did not start")
            self.port = int(line)
        return self

    def stop(self) -> None:
        """End the process and forget what it stored. Connections to it are refused from now on."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def reset(self) -> None:
        """Forget what was stored and counted, and answer at once with status 200 again."""
        self._ask("reset")

    def delay(self, seconds: float) -> None:
        """Answer so many *seconds* after each request from now on, any number of requests at once."""
        self._ask(f"delay/{seconds * 1000:g}")

    def answer(self, status: int) -> None:
        """Answer with *status* from now on. Nothing is stored unless it is 200."""
        self._ask(f"status/{status}")

    def stats(self) -> dict[str, float]:
        """
        Return what happened since the last reset: ``requests``, their body ``bytes``, ``connections``, ``cpu_seconds``.

        Besides ``quiet_seconds``: how long ago the last body was stored.
        """
        answer: dict[str, float] = json.loads(self._ask("stats"))
        answer["connections"] -= 1  # the one that asks
        return answer

    def bodies(self) -> Iterator[bytes]:
        """Yield every stored body, unzipped."""
        stored = memoryview(self._ask("stored"))
        start = 0
        while start < len(stored):
            [length] = _LENGTH.unpack_from(stored, start)
            start += _LENGTH.size + length
            body = bytes(stored[start - length : start])
            yield gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body

    def orders(self) -> set[int]:
        """Return the numbers of the orders that were stored (see ``event.properties``)."""
        return {number for body in self.bodies() for number in read_orders(body)}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ask(self, what: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}/__{what}", timeout=60) as answer:
            found: bytes = answer.read()
        return found


def read_orders(body: bytes) -> list[int]:
    """Return the order numbers in *body*, however an SDK nests, quotes or URL-encodes its JSON."""
    return [int(number) for number in _ORDER.findall(body)]


def _compile(program: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchmarkError("a C compiler is needed for the sink: cc, gcc or clang")
    done = subprocess.run(
        [compiler, "-O2", "-Wall", "-o", program, _SOURCE], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise BenchmarkError(f"the sink could not be compiled:\n{done.stderr[-2000:]}")
