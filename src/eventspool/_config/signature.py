"""
What type checkers, ``help`` and editors are told of a function that hands its arguments on.

``AsyncClient`` and ``init`` take what ``Client`` takes, and ``eventspool.track`` what the method does. Their parameters are
written once, there; another copy would sooner or later lack an option.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["constructing", "show_unbound", "taking"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


def taking(make: Callable[P, R]) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """Give a function, which returns what *make* returns, the parameters of *make*."""

    def decorate(function: Callable[..., R]) -> Callable[P, R]:
        returned = inspect.signature(function).return_annotation
        _show(function, inspect.signature(make).replace(return_annotation=returned))
        return function

    return decorate


def constructing(
    make: Callable[P, object],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """Give a constructor the parameters of *make*."""

    def decorate(init: Callable[..., None]) -> Callable[Concatenate[Any, P], None]:
        itself = next(iter(inspect.signature(init).parameters.values()))
        shown = inspect.signature(make)
        _show(init, shown.replace(parameters=[itself, *shown.parameters.values()]))
        return init

    return decorate


def show_unbound(function: Any, method: Callable[..., object]) -> None:
    """Show *function*, which finds the object whose *method* it calls, as the method without ``self``."""
    shown = inspect.signature(method)
    _show(function, shown.replace(parameters=list(shown.parameters.values())[1:]))
    function.__qualname__ = method.__name__  # without the class: pickle looks the function up by it


def _show(function: Any, shown: inspect.Signature) -> None:
    function.__signature__ = shown
