"""Where something can happen: which instructions are fair (see the package's docstring), and how to act at one of them."""

from __future__ import annotations

import contextlib
import dis
import re
import sys
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import eventspool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

__all__ = ["CALLER", "Actor", "Point", "Recorder", "role_of", "tracing"]

CALLER = "caller"
"""The role of the main thread. Those of our threads are their names, without number."""
_PACKAGE = str(Path(eventspool.__file__).parent) + "/"
_LEFT_OUT = re.compile(
    r"_(cli|dashboard|dataplane|demo|doctor|contract)/|_redis_server|testing|__main__|integrations/"
)
_NEAR = {module.__file__: Path(module.__file__).name for module in (threading, contextlib)}
BY_INSTRUCTION = sys.version_info < (3, 12)
"""Whether every instruction is seen. Since 3.12 a function's first call tells of its lines alone."""
_ASYNCIO_EVENTS = "/asyncio/events.py"
_CO_COROUTINE = 0x80


@dataclass(frozen=True, order=True, slots=True)
class Point:
    """
    One instruction.

    Args:
        file: Its file's path, within the package if it is in there.
        name: Its function.
        first: The line where that begins.
        offset: Its place within the function's instructions.
        line: Its line.
    """

    file: str
    name: str
    first: int
    offset: int
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line} ({self.name}+{self.offset})"


@cache
def _file_of(code: CodeType) -> tuple[str, bool] | None:
    """Return the file of *code*, and whether it is ours; nothing when it is of no interest."""
    path = code.co_filename
    if path.startswith(_PACKAGE):
        file = path.removeprefix(_PACKAGE)
        return None if _LEFT_OUT.match(file) else (file, True)
    return (_NEAR[path], False) if path in _NEAR else None


def role_of(thread: threading.Thread) -> str | None:
    """Return the role of a thread, or nothing when it is none of the client's."""
    if thread is threading.main_thread():
        return CALLER
    name = thread.name
    if not name.startswith("eventspool-") or name.startswith(
        ("eventspool-dataplane", "eventspool-redis-server")
    ):
        return None
    return re.sub(r"[-_ ]?\d+$", "", name.removeprefix("eventspool-"))


class _Ranges:
    """The guarded ranges of one function."""

    def __init__(self, code: CodeType) -> None:
        self._table = dis._parse_exception_table(code)  # type: ignore[attr-defined]
        offsets = [i.offset for i in dis.get_instructions(code)]
        self._previous = dict(zip(offsets[1:], offsets, strict=False))
        self._calls = {
            i.offset
            for i in dis.get_instructions(code)
            if i.opname.startswith(("CALL", "JUMP_BACKWARD", "RESUME"))
        }
        self.lines = {
            offset: line for start, end, line in code.co_lines() if line for offset in range(start, end, 2)
        }
        self.chain = cache(self._chain)

    def _chain(self, offset: int) -> tuple[int, ...]:
        """Return where an exception at *offset* goes, and one from there, and so on."""
        targets: list[int] = []
        while True:
            # Ranges do not overlap: the table is flat.
            target = next((e.target for e in self._table if e.start <= offset < e.end), None)
            if target is None or target in targets:
                return tuple(targets)
            targets.append(target)
            offset = target

    def looks_for_signals(self, offset: int) -> bool:
        """Say whether signal handlers may run when the instruction has been executed."""
        return offset in self._calls

    def is_end(self, here: int) -> bool:
        """Say whether the instruction is the first of a handler, or the first behind a guarded range."""
        before = self._previous.get(here)
        if any(entry.target in (here, before) for entry in self._table):
            return True
        return before is not None and self.is_left(before, here)

    def is_left(self, before: int, here: int) -> bool:
        """Say whether control has left the range that guarded *before*."""
        chain = self.chain(before)
        return bool(chain) and chain[0] not in self.chain(here)


_ranges = cache(_Ranges)


class _Walk:
    """Follows one call of one function, and tells of every fair instruction before it is executed."""

    def __init__(self, code: CodeType, on_fair: Callable[[FrameType], None]) -> None:
        self._ranges = _ranges(code)
        self._on_fair = on_fair
        self._before: int | None = None
        self._fair = True
        self._begins_line = False

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line" and not BY_INSTRUCTION:
            if not self._ranges.is_end(frame.f_lasti):
                self._on_fair(frame)
        elif event == "line":
            self._begins_line = True  # the opcode event of the same instruction follows
        elif event == "opcode":
            here, before = frame.f_lasti, self._before
            called = False
            if before is not None:
                called = self._ranges.looks_for_signals(before)
                self._fair = (self._fair or called) and not self._ranges.is_left(before, here)
                called = called and self._ranges.chain(before)[:1] == self._ranges.chain(here)[:1]
            begins, self._begins_line, self._before = self._begins_line, False, here
            if self._fair and (begins or called):
                self._on_fair(frame)
        return self


def _is_reachable(frame: FrameType, *, ours: bool) -> bool:
    """Say whether an exception in *frame* has somebody of ours, and then of the host's, to go to."""
    beneath_ours = ours
    coroutine = False
    above: FrameType | None = frame
    while above is not None:
        code = above.f_code
        if code.co_name == "__del__":
            return False  # Python itself prints and forgets it
        if code.co_filename.endswith(_ASYNCIO_EVENTS) and not coroutine:
            return False  # the event loop logs and forgets what its callbacks raise
        coroutine = coroutine or bool(code.co_flags & _CO_COROUTINE)
        beneath_ours = beneath_ours or code.co_filename.startswith(_PACKAGE)
        above = above.f_back
    return beneath_ours


def _point(file: str, frame: FrameType) -> Point:
    code, offset = frame.f_code, frame.f_lasti
    line = _ranges(code).lines.get(offset, code.co_firstlineno)
    return Point(file, code.co_qualname, code.co_firstlineno, offset, line)


class Recorder:
    """Counts the visits of every point, by role; the caller's only in this module's ``tracing`` blocks."""

    def __init__(self) -> None:
        self.visits: dict[str, dict[Point, int]] = {}

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        """Begin to follow a call, if it is of ours."""
        if (found := _file_of(frame.f_code)) is None:
            return None
        file, ours = found
        role = role_of(threading.current_thread())
        if role is None:
            sys.settrace(None)  # a thread of the data plane
        if role is None or (not ours and role != CALLER) or not _is_reachable(frame, ours=ours):
            return None
        visits = self.visits.setdefault(role, {})

        def count(frame: FrameType) -> None:
            point = _point(file, frame)
            visits[point] = visits.get(point, 0) + 1

        frame.f_trace_opcodes = BY_INSTRUCTION
        return _Walk(frame.f_code, count)


class Actor:
    """
    Acts at one visit of one point.

    Args:
        role: On whose thread.
        point: Where.
        visit: 1 for the first visit.
        act: What to do; what it raises is raised there.
    """

    def __init__(self, role: str, point: Point, visit: int, act: Callable[[], None]) -> None:
        self._role = role
        self._point = point
        self._left = visit
        self._act = act
        self.acted = False
        self.is_outermost = False
        """It happened in the function that a thread of ours begins with, where nothing of ours can catch anything."""

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        """Begin to follow a call of the point's function."""
        if self.acted or frame.f_code.co_firstlineno != self._point.first:
            return None
        if (found := _file_of(frame.f_code)) is None:
            return None
        file, ours = found
        if (file, frame.f_code.co_qualname) != (self._point.file, self._point.name):
            return None
        if role_of(threading.current_thread()) != self._role or not _is_reachable(frame, ours=ours):
            return None
        frame.f_trace_opcodes = BY_INSTRUCTION
        return _Walk(frame.f_code, self._visit)

    def _visit(self, frame: FrameType) -> None:
        if self.acted or frame.f_lasti != self._point.offset:
            return
        self._left -= 1
        if self._left:
            return
        self.acted = True
        above = frame.f_back
        while above is not None and _file_of(above.f_code) is None:
            above = above.f_back
        self.is_outermost = above is None or not above.f_code.co_filename.startswith(_PACKAGE)
        self._act()


@contextlib.contextmanager
def tracing(trace: Any) -> Iterator[None]:
    """Trace the current thread for as long as the block lasts."""
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)


def lines_of(function: Callable[[], object]) -> list[int]:
    """Call *function* and return the fair points of it, each by its line counted from the function's first, in order."""
    code, lines = function.__code__, []

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code is not code:
            return None
        frame.f_trace_opcodes = BY_INSTRUCTION
        return _Walk(code, lambda frame: lines.append((frame.f_lineno or 0) - code.co_firstlineno))

    with tracing(trace):
        function()
    return lines
