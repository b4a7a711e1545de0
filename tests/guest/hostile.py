"""
Values that no host means to give us, and some day does.

Three kinds: what Hypothesis makes of the types that events may hold, what the events' own tests call hostile, and here what
changes, or calls us, while it is being read.

Left out: an Enum whose ``value`` raises. orjson reads that attribute without looking for an error, which ends the process;
only walking through every event beforehand would prevent it (tests/events/test_hostile.py has it for our own encoder).
"""

from __future__ import annotations

import collections
import enum
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from events.test_hostile import HOSTILE, spring

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

__all__ = ["Hostility"]


class Color(enum.Enum):
    """An Enum as it should be."""

    RED = "red"
    MANY = (1, 2)
    ODD = float("nan")


def _leaves() -> st.SearchStrategy[Any]:
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-(10**400), 10**400),
        st.floats(),
        st.complex_numbers(),
        st.decimals(),
        st.fractions(),
        st.text(),
        st.text(st.characters(exclude_categories=())),  # lone surrogates
        st.text(st.characters(categories=["Cs", "Cc"]), min_size=1),
        st.binary(),
        st.binary().map(bytearray),
        st.binary().map(memoryview),
        st.datetimes(timezones=st.none() | st.timezones()),
        st.dates(),
        st.times(timezones=st.none() | st.timezones()),
        st.timedeltas(),
        st.uuids(),
        st.ip_addresses(),
        st.sampled_from(Color),
        st.builds(object),
        st.from_type(type),
        *_foreign(),
    )


def _foreign() -> list[st.SearchStrategy[Any]]:
    """Values of numpy and pandas, where they are installed."""
    foreign: list[st.SearchStrategy[Any]] = []
    if find_spec("numpy"):
        from hypothesis.extra import numpy as nps

        scalars = nps.scalar_dtypes()
        shapes = nps.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
        foreign += [scalars.flatmap(nps.from_dtype), scalars.flatmap(lambda d: nps.arrays(d, shapes))]
    if find_spec("pandas"):
        import pandas as pd

        stamps = [pd.NaT, pd.NA, pd.Timestamp.max, pd.Timestamp.min, pd.Timestamp(0, tz="Asia/Kolkata")]
        more = [pd.Timedelta.max, pd.Period("2026-11"), pd.Interval(0, 1), pd.Categorical(["a", None])]
        lists = [
            pd.Series([1, None, "x"]),
            pd.Series([], dtype="int8"),
            pd.Index([1.5]),
            pd.DataFrame({"a": [1]}),
        ]
        foreign.append(
            st.sampled_from([*stamps, *more, *lists, pd.Series([pd.NaT]), pd.date_range(0, periods=2)])
        )
    return foreign


def _values() -> st.SearchStrategy[Any]:
    leaves = _leaves()
    keys = st.text() | st.text(st.characters(exclude_categories=())) | st.integers() | st.none() | st.floats()
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.lists(inner, max_size=4).map(collections.deque),
            st.lists(inner, max_size=3).map(iter),
            st.dictionaries(st.text(), inner, max_size=4),
            st.dictionaries(st.text(), inner, max_size=4).map(collections.OrderedDict),
            st.dictionaries(keys, inner, max_size=4),
            st.sets(st.text() | st.integers() | st.floats(), max_size=4),
        ),
        max_leaves=8,
    )


def _drawn(seed: int, examples: int) -> list[Any]:
    drawn: list[Any] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_values())
    def draw(value: Any) -> None:
        drawn.append(value)

    draw()
    return drawn


class Growing(dict[str, Any]):
    """A dict that is larger at every look."""

    def items(self) -> Any:
        self[f"k{len(self)}"] = len(self)
        return super().items()

    def __iter__(self) -> Any:
        self[f"k{len(self)}"] = len(self)
        return super().__iter__()


class Shrinking(list[Any]):
    """A list that loses an element whenever one is read."""

    def __iter__(self) -> Any:
        while self:
            yield self.pop()


class Changing(collections.UserDict[str, Any]):
    """A mapping that changes under its reader's hands."""

    def __getitem__(self, key: str) -> Any:
        self.data[f"{key}+"] = 1
        return super().__getitem__(key)


class Saboteur:
    """A path that, asked for its text, empties or fills the container that it is in."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def __fspath__(self) -> str:
        container = self._container
        if len(container) > 1:
            container.clear()
        elif isinstance(container, dict):
            container.update({str(n): n for n in range(50)})
        else:
            container.extend(range(50))
        return "path"


class Calling:
    """A path that does *work* when it is asked for its text."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work

    def __fspath__(self) -> str:
        self._work()
        return "path"


class Dying:
    """A cycle that does *work* when the garbage collector finds it."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._self = self

    def __del__(self) -> None:
        self._work()


def _in_dict(container: dict[str, Any]) -> dict[str, Any]:
    container["path"] = Saboteur(container)
    return container


def _in_list(container: list[Any]) -> list[Any]:
    container.append(Saboteur(container))
    return container


class Hostility:
    """
    A source of values.

    Args:
        seed: For Hypothesis.
        examples: How many values it makes; they are used again and again.
        work: What some values do while they are read: a further event.
    """

    def __init__(self, seed: int, examples: int, work: Callable[[], object]) -> None:
        self._drawn = _drawn(seed, examples)
        self._shared: dict[str, Any] = {"a": 1, "list": [1, 2, 3]}
        self._makers: list[Callable[[], Any]] = [
            *HOSTILE,
            Growing,
            lambda: Shrinking([1, 2, 3]),
            lambda: Changing(a=1, b={"c": 2}),
            lambda: _in_dict({"a": 1}),
            lambda: _in_dict({}),
            lambda: _in_list([1, 2]),
            lambda: _in_list([]),
            lambda: Calling(work),
            lambda: Dying(work),
            lambda: self._shared,
            lambda: self._shared["list"],
            lambda: type("Broken", (), {"__str__": spring, "__iter__": spring, "__len__": spring})(),
            lambda: type("Unhashable", (), {"__eq__": spring, "__hash__": None})(),
            lambda: type("Broken", (Exception,), {"__str__": spring})(),
        ]

    def change_for_ever(self) -> None:
        """Change, from a thread of its own, what calls on other threads are reading."""

        def change() -> None:
            numbers = self._shared["list"]
            while True:
                for n in range(40):
                    self._shared[f"k{n}"] = n
                    numbers.append(n)
                for n in range(40):
                    self._shared.pop(f"k{n}")
                    numbers.pop()
                pause.wait(0.001)

        pause = threading.Event()
        threading.Thread(target=change, daemon=True).start()

    def value(self, dice: Random) -> Any:
        """Return a value, at a random depth."""
        value = dice.choice(self._makers)() if dice.random() < 0.08 else dice.choice(self._drawn)
        while dice.random() < 0.3:
            value = dice.choice((_as_dict, _as_list, _as_tuple))(value)
        return value


def _as_dict(value: Any) -> Any:
    return {"k": value, "n": 1}


def _as_list(value: Any) -> Any:
    return [1, value]


def _as_tuple(value: Any) -> Any:
    return (value,)
