"""
Tell what the host throws into a call of ours (a time limit) from what a value raises while it is being read.

A value's own code may raise anything, and that costs its event. But Python also runs the host's signal handlers in
the midst of our lines, and what such a handler raises, of whatever type, belongs to the host: a task whose time
limit was swallowed here would run on. The type of the exception does not tell the two apart; the traceback does, which says
which code called which.
"""

from __future__ import annotations

import builtins
import signal
from functools import partial
from opcode import opname
from queue import Empty
from types import FunctionType, MethodType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType, TracebackType

__all__ = ["raise_interruption"]

_COMPLAINTS = (ValueError, TypeError, OverflowError)
"""What functions written in C raise of a value, sometimes without a word."""
_MOST_WRAPPERS = 8
_OURS = __name__.partition(".")[0]


def raise_interruption(error: BaseException) -> None:
    """
    Raise what came from outside into the calls below the one that has just caught *error*; return where nothing has.

    That is what a signal handler raised, what another thread threw in (``PyThreadState_SetAsyncExc``), and every
    ``MemoryError``, which says nothing about a value either. Libraries that read values (pydantic) may have wrapped it.
    """
    cause: BaseException | None = error
    for _ in range(_MOST_WRAPPERS):
        if cause is None:
            return
        if isinstance(cause, MemoryError) or _came_from_outside(cause):
            raise cause
        cause = cause.__cause__


def _came_from_outside(error: BaseException) -> bool:
    trace = error.__traceback__
    if trace is None:
        return False
    handlers: set[CodeType] | None = None
    while (inner := trace.tb_next) is not None:
        if handlers is None:
            handlers = set(_handler_codes())
        if inner.tb_frame.f_code in handlers or _was_given(inner.tb_frame, trace.tb_frame):
            return True
        trace = inner
    return _was_thrown_in(error, trace)


def _handler_codes() -> Iterator[CodeType]:
    """Yield the code of every signal handler that is set now."""
    for number in range(1, signal.NSIG):
        try:
            handler: object = signal.getsignal(number)
        except ValueError:  # a number without a signal
            continue
        while type(handler) is partial:
            handler = handler.func
        if type(handler) is MethodType:
            handler = handler.__func__
        function = handler if type(handler) is FunctionType else getattr(type(handler), "__call__", None)  # noqa: B004
        if type(function) is FunctionType:
            yield function.__code__


def _was_given(frame: FrameType, interrupted: FrameType) -> bool:
    """Say whether *frame* was given the frame below it, as Python does for signal handlers alone."""
    return any(
        value is interrupted or (type(value) is tuple and any(each is interrupted for each in value))
        for value in frame.f_locals.values()
    )


def _was_thrown_in(error: BaseException, trace: TracebackType) -> bool:
    """
    Say whether *error* was raised by nothing that was running at *trace*, its innermost place.

    Another thread throws in a class, and Python makes an exception without arguments of it. The exceptions that our own lines
    raise have some, and so have nearly all of those that functions written in C raise. Those without (as of
    ``datetime.fromisoformat`` of Python 3.11.2, for a text that cannot be printed) are of the types that Python uses to
    complain of values. A ``raise`` elsewhere may give no arguments, and a ``SimpleQueue`` that is empty gives none.
    """
    if error.args:
        return False
    frame = trace.tb_frame
    is_pythons = any(type(error) is known for known in (*vars(builtins).values(), Empty))
    if str(frame.f_globals.get("__name__")).partition(".")[0] == _OURS:
        return not (is_pythons and isinstance(error, _COMPLAINTS))
    instruction = opname[frame.f_code.co_code[trace.tb_lasti]] if trace.tb_lasti >= 0 else ""
    return "RAISE" not in instruction and not is_pythons
