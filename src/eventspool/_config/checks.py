"""
How options are checked: when they are made, so that a wrong one is an error at the line that gave it.

A check names the option that is wrong, and answers an unknown one with the nearest known one. No check repeats a value that
may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeAlias, TypeVar
from urllib.parse import SplitResult, urlsplit

from eventspool._config.elsewhere import hint_at, in_snake_case
from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = [
    "HOMES",
    "PREFIX",
    "FromMapping",
    "cut_hosts",
    "naming_unknown",
    "naming_unknown_fields",
    "reject_unknown",
    "require_bool",
    "require_number",
    "require_numbers",
    "require_text",
    "split_url",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")
Fill: TypeAlias = "Callable[[set[str]], AbstractContextManager[Mapping[str, Any]]]"
"""What gives arguments that were not given."""
_LONGEST_SECONDS = 1e9
"""About 31 years. Longer waits overflow the operating system's timers."""
_MOST_BITS = 2000
"""Of an integer. Python refuses to print one that is much longer, also in the text of an error."""

PREFIX = "EVENTSPOOL_"
"""How the name of each variable of the environment begins that gives an option."""

HOMES: dict[str, Any] = {}
"""
The options' dataclasses by the option that holds one: where to look for an option that was given in the wrong place.

``queue.py`` fills it, as it stands above them all.
"""


def reject_unknown(given: Mapping[str, object], known: list[str], where: str) -> None:
    """Raise ``ConfigError`` for the first key of *given* that is not *known*, naming the nearest one."""
    for name in given:
        if name not in known:
            import difflib  # rarely needed: most options are right

            snake = in_snake_case(name)
            home = next((h for h, kind in HOMES.items() if snake in {f.name for f in fields(kind)}), None)
            near = [snake] if snake in known else difflib.get_close_matches(snake, known, n=1, cutoff=0.6)
            if elsewhere := hint_at(snake, known):
                hint = elsewhere
            elif home and snake not in known:
                hint = f"{snake!r} is one of {home}"
            elif snake in (*HOMES, "queue") and "persistence" in known:
                hint = "give it as persistence=…, or to create_persistence_queue()"
            elif near:
                hint = f"did you mean {near[0]!r}?"
            else:
                hint = f"known are {', '.join(sorted(known))}"
            raise ConfigError(f"unknown option {name!r} in {where}: {hint}")


def require_number(
    name: str, value: object, minimum: float, *, integer: bool = False, exclusive: bool = False
) -> None:
    """
    Raise ``ConfigError`` unless *value* is a finite number (not a bool) of at least *minimum*.

    A number that need not be an *integer* is a number of seconds, and must fit a timer of the operating system.
    """
    kind = (int,) if integer else (int, float)
    if (
        isinstance(value, bool)
        or not isinstance(value, kind)
        or value != value
        or value in (float("inf"), -float("inf"))
    ):
        raise ConfigError(
            f"{name} must be {'an integer' if integer else 'a number'}, not {type(value).__name__}"
        )
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise ConfigError(f"{name} must be a number of a usual size, not one of {value.bit_length()} bits")
    if value < minimum or (exclusive and value == minimum):
        raise ConfigError(
            f"{name} must be {'more than' if exclusive else 'at least'} {minimum:g}, not {value!r}"
        )
    if not integer and value > _LONGEST_SECONDS:
        raise ConfigError(f"{name} must be at most {_LONGEST_SECONDS:g} seconds, not {value!r}")


def require_numbers(
    opts: object, *, integer: bool = False, exclusive: bool = False, **minimums: float
) -> None:
    """Raise ``ConfigError`` unless each option in *minimums* is a number of at least that; see ``require_number``."""
    for name, minimum in minimums.items():
        require_number(name, getattr(opts, name), minimum, integer=integer, exclusive=exclusive)


def require_bool(name: str, value: object) -> None:
    """Raise ``ConfigError`` unless *value* is a bool."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False, not {type(value).__name__}")


def require_text(name: str, value: object, *, optional: bool = False) -> None:
    """Raise ``ConfigError`` unless *value* is a non-empty str (or None, where *optional*)."""
    if optional and value is None:
        return
    if not isinstance(value, str) or not value:
        raise ConfigError(
            f"{name} must be a non-empty string, not {value!r}"
            if value == ""
            else f"{name} must be a string, not {type(value).__name__}"
        )
    if "\0" in value or not _is_encodable(value):
        raise ConfigError(f"{name} must hold no NUL and no half of a surrogate pair")


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")  # a path may hold bytes that are not UTF-8
    except UnicodeEncodeError:
        return False
    return True


def cut_hosts(url: str) -> tuple[str, str]:
    """Return a queue's *url* with the first of its hosts alone, and all hosts, each with its port, as they stand there."""
    start, slashes, rest = url.partition("://")
    place = re.match("[^/?#]*", rest)
    assert place is not None  # noqa: S101 - it matches every text
    login, at, hosts = place[0].rpartition("@")
    return f"{start}{slashes}{login}{at}{hosts.partition(',')[0]}{rest[place.end() :]}", hosts


def split_url(url: str) -> SplitResult:
    """Return the parts of a queue's *url*, with the first of its hosts. Raises ``ConfigError`` where it cannot be split."""
    try:
        parts = urlsplit(cut_hosts(url)[0])
        _ = parts.port
    except ValueError:  # its text may repeat a password
        raise ConfigError("the queue URL is malformed") from None
    return parts


class FromMapping:
    """Builds a dataclass of options from a mapping, another instance, or nothing."""

    @classmethod
    def of(cls, given: Self | Mapping[str, Any] | None, where: str) -> Self:
        """Return *given* as an instance. Raises ``ConfigError`` for unknown names and wrong values."""
        if given is None:
            return cls()
        if isinstance(given, cls):
            return given
        if not isinstance(given, Mapping):
            raise ConfigError(f"{where} must be a mapping or {cls.__name__}, not {type(given).__name__}")
        reject_unknown(given, [f.name for f in fields(cls)], where)  # type: ignore[arg-type]
        return cls(**given)


def naming_unknown(where: str, fill: Fill | None = None) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """
    Have a function raise ``ConfigError`` for an unknown option, as for one in a mapping. Its signature stays.

    Args:
        where: What the message calls the function.
        fill: Called with the names of the arguments that were given. For as long as the call lasts, it gives values for
            others: an argument that was not given can only be told from one equal to the default here.
    """

    def decorate(make: Callable[_P, _R]) -> Callable[_P, _R]:
        names = list(signature(make).parameters)
        known = [name for name in names if name != "self"]

        @wraps(make)
        def init(*args: _P.args, **given: _P.kwargs) -> _R:
            reject_unknown(given, known, where)
            if fill is None:
                return make(*args, **given)
            with fill({*names[: len(args)], *map(str, given)}) as found:
                given.update((name, value) for name, value in found.items() if name not in given)
                return make(*args, **given)

        return init

    return decorate


def naming_unknown_fields(cls: type[_T]) -> type[_T]:
    """Have the constructor of the dataclass *cls* name unknown options."""
    cls.__init__ = naming_unknown(cls.__name__)(cls.__init__)  # type: ignore[method-assign]
    return cls
