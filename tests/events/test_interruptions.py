"""What the host throws into a call comes out of it as itself: never swallowed, never taken for an error of the value's."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import itertools
import random
import signal
import sys
import threading
import time
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pydantic
import pytest

import eventspool
from eventspool._events.interruption import raise_interruption
from eventspool._exceptions import EventError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from eventspool._events.event import EventEncoder


class TimeLimit(Exception):  # noqa: N818 - as hosts call theirs
    """A type of the host's own."""


class Chameleon(TypeError, ValueError, OverflowError, RecursionError, TimeoutError):  # noqa: N818
    """One that looks like every complaint about a value, about dates, and about the stack."""


class Harsh(BaseException):
    """One that no ``except Exception`` catches."""


LIMITS = [TimeLimit, Chameleon, Harsh]


@dataclasses.dataclass
class Order:
    number: int
    when: datetime


class Visit(pydantic.BaseModel):
    site: pydantic.HttpUrl = pydantic.HttpUrl("https://shop.example/basket")
    floors: dict[int, str] = {2: "toys"}


WHEN = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
PROPERTIES: list[dict[str, Any]] = [
    {"plain": [1, 2.5, "x", None, {"deep": [True]}]},
    {"when": WHEN, "day": date(2026, 3, 1), "price": Decimal("1.10"), "big": 2**200, "huge": 10**900},
    {"nested": [WHEN, {3, 1}, uuid.UUID(int=1), b"x", timedelta(1), PurePosixPath("/a")]},
    {"naive": [datetime(2026, 3, 1), datetime.max, datetime.min.replace(tzinfo=UTC)]},
    {"order": Order(7, WHEN), "visit": Visit(), "array": np.arange(3), "third": [Fraction(1, 3)]},
    {"odd": "\ud800", (1.5).hex(): {4: 5}},
    {"bad": [object()]},
]
CALLS: list[Callable[[EventEncoder], object]] = [
    *(lambda e, p=p: e.track("u", "e", p) for p in PROPERTIES),
    *(lambda e, p=p: e.identify(uuid.UUID(int=1), p, {"ip": "::1"}) for p in PROPERTIES[:3]),
    lambda e: e.group(np.int64(3), Decimal("1.5"), Visit.model_construct().__dict__, timestamp="2026-03-01"),
    lambda e: e.page(7.5, "c", "n", None, timestamp=1.0e30),
    lambda e: e.screen("u", timestamp=np.datetime64("2026-03-01"), message_id="\ud800"),
    lambda e: e.alias(1, "b", timestamp=date(2026, 3, 1), integrations={"All": {1: False}}),
]


@pytest.fixture
def nothing_else_swallows() -> Iterator[None]:
    """
    The garbage collector runs anywhere, and Python drops what comes amid a destructor or a callback of its own.

    So what other tests have left is collected before, and nothing is meanwhile.
    """
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def limit_signal() -> Iterator[int]:
    before = signal.getsignal(signal.SIGUSR1)
    yield signal.SIGUSR1
    signal.signal(signal.SIGUSR1, before)


def attempt(call: Callable[[EventEncoder], object], encoder: EventEncoder) -> None:
    with contextlib.suppress(EventError):
        call(encoder)


class AtLine:
    """Trace function that has *act* run at the *number*-th line of the encoder's."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self.lines = 0
        self.place = ""
        self._number = number
        self._act = act

    def __call__(self, frame: FrameType, event: str, _: object) -> AtLine | None:
        if "eventspool/_events/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self._number:
                self.place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                self._act()
        return self

    def run(self, call: Callable[[EventEncoder], object], encoder: EventEncoder) -> None:
        before = sys.gettrace()
        sys.settrace(self)
        try:
            attempt(call, encoder)
        finally:
            sys.settrace(before)


@pytest.mark.rotating
@pytest.mark.parametrize("limit", LIMITS)
def test_a_time_limit_comes_out_as_itself_at_every_line(encoder, limit_signal, limit):
    thrown = []

    def handler(*_: object) -> None:
        thrown.append(limit())
        raise thrown[-1]

    signal.signal(limit_signal, handler)
    for call in CALLS:
        for line in itertools.count(1):
            tracer = AtLine(line, partial(signal.raise_signal, limit_signal))
            try:
                tracer.run(call, encoder)
            except limit as caught:
                assert caught is thrown[-1]  # noqa: PT017 - whether it comes is the question
            else:
                assert tracer.lines < line, tracer.place
                break
        assert line > 5


def forgetful(number: int, frame: object) -> None:
    del number, frame
    raise TimeLimit


def restoring(_: int, frame: object) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    raise TimeLimit


class Limit:
    def __call__(self, number: int, frame: object) -> None:
        del number, frame
        self.raise_it()

    def raise_it(self) -> None:
        raise TimeLimit


HANDLERS = {
    "function": lambda *_: forgetful(*_),
    "forgets its frame": forgetful,
    "method": Limit().__call__,
    "object": Limit(),
    "partial": partial(lambda text, number, frame: forgetful(number, frame), "soft"),
    "no longer set": restoring,
}


@pytest.mark.hunt
@pytest.mark.usefixtures("nothing_else_swallows")
@pytest.mark.parametrize("kind", HANDLERS)
def test_real_alarms_are_never_lost(encoder, kind):
    """Wherever they fall: also between the bytecodes of a line, and into the C functions that it calls."""
    handler = HANDLERS[kind]
    dice = random.Random(kind)
    seen = rounds = 0
    before = signal.getsignal(signal.SIGALRM)
    try:
        deadline = time.monotonic() + 1.0
        while rounds < 60 or time.monotonic() < deadline:
            rounds += 1
            signal.signal(signal.SIGALRM, handler)
            try:
                signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.0002, 0.0008))
                over = time.monotonic() + 30.0  # so late that only one that was swallowed has not come
                while time.monotonic() < over:
                    for call in CALLS:
                        attempt(call, encoder)
            except TimeLimit:
                seen += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, before)
    assert seen == rounds > 50


def throw_in(target: int) -> None:
    """Throw a time limit into a thread, as rq's and stopit's do."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(target), ctypes.py_object(TimeLimit))


@pytest.mark.usefixtures("nothing_else_swallows")
def test_an_exception_from_another_thread_comes_out_at_every_line(encoder):
    for call in CALLS:
        for line in itertools.count(1):
            tracer = AtLine(line, partial(throw_in, threading.get_ident()))
            try:
                tracer.run(call, encoder)
            except TimeLimit:
                continue
            assert tracer.lines < line, tracer.place
            break
        assert line > 5


@pytest.mark.hunt
@pytest.mark.usefixtures("nothing_else_swallows")
def test_an_exception_from_another_thread_is_never_lost(encoder):
    seen = 0
    for _ in range(150):
        timer = threading.Timer(0.0005, throw_in, (threading.get_ident(),))
        try:
            timer.start()
            over = time.monotonic() + 30.0
            while time.monotonic() < over:
                attempt(CALLS[0], encoder)
                attempt(CALLS[1], encoder)
        except TimeLimit:
            seen += 1
        timer.join()
    assert seen == 150


COMPLAINTS = [ValueError, TypeError, OverflowError]


@pytest.mark.parametrize(
    ("error", "comes_out"), [*((kind, False) for kind in COMPLAINTS), (TimeLimit, True), (RuntimeError, True)]
)
def test_a_complaint_of_pythons_own_without_words_is_none_of_the_hosts(error, comes_out):
    """Functions written in C complain so: ``datetime.fromisoformat`` of Python 3.11.2 of a text that cannot be printed."""
    complain = ctypes.PyDLL(None).PyErr_SetNone
    names = {"complain": complain, "__name__": "eventspool._of_ours"}
    exec("def read(kind): complain(kind)", names)
    with pytest.raises(error) as caught:
        names["read"](ctypes.py_object(error))
    assert not caught.value.args
    with pytest.raises(error) if comes_out else contextlib.nullcontext():
        raise_interruption(caught.value)


def test_a_time_that_cannot_be_printed_refuses_the_event(encoder):
    class Unprintable(str):
        __slots__ = ()

        def __repr__(self) -> str:
            raise TimeLimit

    with pytest.raises(EventError, match="timestamp: "):
        encoder.track("u", "e", {}, timestamp=Unprintable("soon"))


class Explodes:
    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __fspath__(self) -> str:
        raise self._error


@pytest.mark.parametrize(
    "error", [TimeLimit(), ValueError("x"), TimeoutError(), RecursionError(), OSError(5)]
)
def test_what_a_value_raises_by_itself_refuses_the_event(encoder, limit_signal, error):
    signal.signal(limit_signal, forgetful)
    for properties in ({"v": Explodes(error)}, {"v": [1, {"w": Explodes(error)}]}):
        with pytest.raises(EventError, match=f"raised {type(error).__name__}"):
            encoder.track("u", "e", properties)


def test_a_time_limit_in_a_values_own_code_comes_out(encoder, limit_signal):
    class Slow:
        def __fspath__(self) -> str:
            signal.raise_signal(limit_signal)
            return "never"

    signal.signal(limit_signal, forgetful)
    for call in (
        lambda: encoder.track("u", "e", {"v": Slow()}),
        lambda: encoder.identify("u", {"v": [Slow()]}),
    ):
        with pytest.raises(TimeLimit):
            call()


def test_a_memory_error_comes_out_as_itself(encoder):
    with pytest.raises(MemoryError):
        encoder.track("u", "e", {"v": Explodes(MemoryError())})


@pytest.mark.parametrize("strict", [False, True])
def test_the_clients_methods_let_time_limits_through_and_count_nothing(limit_signal, strict):
    reported: list[object] = []
    client = eventspool.Client(
        "k", enable=False, strict=strict, on_error=lambda error, _: reported.append(error)
    )
    client.track("u", "e")
    accepted = client.stats().accepted

    class Slow:
        def __fspath__(self) -> str:
            signal.raise_signal(limit_signal)
            return "never"

    signal.signal(limit_signal, forgetful)
    for call in (
        lambda: client.track("u", "e", {"v": Slow()}),
        lambda: client.identify("u", {"v": Slow()}),
        lambda: client.page("u", properties={"v": Slow()}),
        lambda: client.screen("u", properties={"v": Slow()}),
        lambda: client.group("u", "g", {"v": Slow()}),
        lambda: client.alias("a", "b", {"v": Slow()}),
    ):
        with pytest.raises(TimeLimit):
            call()
    stats = client.stats()
    client.close()
    assert (stats.accepted, sum(stats.refused.values()), reported) == (accepted, 0, [])


def test_an_exception_that_was_never_raised_is_no_interruption():
    raise_interruption(ValueError())
