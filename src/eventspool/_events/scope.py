"""
What events take from where they are tracked: a user, context and properties that a request or a task has set once.

A scope belongs to the code that is inside its ``with`` block, on this thread or in this asyncio task, and to what that code
starts with a copy of its context, as ``asyncio.create_task`` does (``contextvars``, PEP 567). A scope never changes: ``bind``
puts another one in its place, so a request does not see what another one binds.

A block that ends looks for itself in the scope of the running code, and does nothing where it is not there. A token of
``contextvars`` would not do: a generator that is closed after the request in which it began would bring that request's user
back, and threads that share one ``context`` would end each other's blocks.
"""

from __future__ import annotations

import contextlib
import json
from contextvars import ContextVar
from functools import partial
from types import BuiltinMethodType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

from eventspool._events.arguments import id_of, merged
from eventspool._events.encoding import encode_exactly, type_name
from eventspool._events.interruption import raise_interruption
from eventspool._exceptions import EventError
from eventspool._guest.log import Log
from eventspool._guest.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

__all__ = ["Scope", "bind", "context", "current", "entered", "identifying"]

_MOST_CARRIED_BYTES = 1 << 20
_ASKED = (FunctionType, MethodType, BuiltinMethodType, partial)
"""Types of a user that is asked for at each event. A proxy may be callable, and is an id."""


class Scope(NamedTuple):
    """What has been bound in a scope and in those around it."""

    user_id: object = None
    """An id, or a function that returns one or ``None``."""
    anonymous_id: object = None
    context: Mapping[str, Any] = {}
    properties: Mapping[str, Any] = {}
    error: EventError | None = None
    """What is wrong with it."""
    identify: Callable[[bytes], str] | None = None
    """Returns the message id of an event whose call gave none. It gets what the event says, without times and the library."""
    block: _Block | None = None
    """The ``with`` block that has entered it, or that ``bind`` was called in."""

    def add(
        self,
        user_id: object,
        anonymous_id: object,
        context: Mapping[str, Any] | None,
        properties: Mapping[str, Any] | None,
    ) -> Scope:
        """Return a scope inside of this one. Ids win as a whole, context and properties key by key."""
        added = self._replace(
            user_id=self.user_id if user_id is None else user_id,
            anonymous_id=self.anonymous_id if anonymous_id is None else anonymous_id,
        )
        try:
            return added._replace(
                context=merged("context", self.context, context),
                properties=merged("properties", self.properties, properties),
            )
        except EventError as error:  # told by the events that take it: binding never raises into the host
            return added._replace(
                error=EventError(str(error), error.reason)
            )  # a raised one keeps the host's frames

    def ids_of(self, user_id: object, anonymous_id: object) -> tuple[object, object]:
        """Return both ids of an event, taken from here where its call gave ``None``. Raises ``EventError``."""
        if self.error is not None:
            raise EventError(str(self.error), self.error.reason)  # anew: a raised one keeps its frames
        if user_id is None:
            user_id = self.ask_user()
        return user_id, self.anonymous_id if anonymous_id is None else anonymous_id

    def context_of(self, given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Return the context of an event whose call gave *given*, which wins. Raises ``EventError``."""
        return merged("context", self.context, given) if self.context else given

    def properties_of(self, given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Return the properties of an event whose call gave *given*, which win. Raises ``EventError``."""
        return merged("properties", self.properties, given) if self.properties else given

    def ask_user(self) -> object:
        """Return the user's id, or whatever stands for it. Raises ``EventError`` where the function that knows it raises."""
        user = self.user_id
        kind = type(user)
        if not any(
            kind is asked for asked in _ASKED
        ):  # and not ``in``, which asks the type whether it is equal
            return user
        try:
            return user()  # type: ignore[operator] # only the type of its type was looked at
        except Exception as error:
            raise_interruption(error)
            raise EventError(f"user_id: asking for it raised {type_name(error)}") from error


class _Block:
    """
    A ``with`` block that has entered a scope.

    Args:
        owner: What the ``with`` statement was given. Threads may share it, and each has a block of its own.
        before: The scope around the block.
    """

    __slots__ = ("before", "is_open", "outer", "owner")

    def __init__(self, owner: object, before: Scope | None) -> None:
        self.owner = owner
        self.before = before
        self.outer = None if before is None else _first_open(before.block)
        self.is_open = True

    def end(self) -> None:
        """Let go of what was around it: tasks that were begun inside of it may go on for ever, and begin others."""
        outer = _first_open(self.outer)
        self.is_open, self.before, self.outer = False, None, outer  # in one step: see ``_leave``


def _first_open(block: _Block | None) -> _Block | None:
    while block is not None and not block.is_open:
        block = block.outer
    return block


_scope: ContextVar[Scope | None] = ContextVar("eventspool_scope", default=None)
entered = _scope.get
"""Return the scope of the running code, ``None`` outside of all."""
_throttle = Throttle(Log("eventspool"))


def _leave(scope: Scope | None, owner: object) -> None:
    """
    End the innermost block of *owner* in *scope*, the present one, and those inside of it that a generator has left open.

    It may be called again where a signal handler has raised amid it, and does then what is left to do.
    """
    block = None if scope is None else _first_open(scope.block)
    while block is not None and block.owner is not owner:
        block = _first_open(block.outer)
    if block is not None:
        _scope.set(block.before)
        block.end()


class _Within:
    """A ``with`` block of any kind that enters a scope."""

    __slots__ = ()

    def __enter__(self) -> None:
        before = entered()
        try:
            _scope.set(self._change(before or Scope())._replace(block=_Block(self, before)))
        except BaseException:
            # A signal handler's (a time limit): then the block does not begin, and nothing would end it.
            _scope.set(before)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scope = None
        try:
            scope = entered()
            _leave(scope, self)
        except BaseException:  # a signal handler's, too
            _leave(scope or entered(), self)
            raise

    def _change(self, scope: Scope) -> Scope:
        """Return the scope that is entered inside of *scope*."""
        raise NotImplementedError


class context(_Within):  # noqa: N801 - programs call it as they call ``contextlib.suppress``
    """
    Give events that are tracked inside the ``with`` block what no argument of theirs says.

        with eventspool.context(user_id="user-1", context={"ip": "203.0.113.7"}, properties={"tenant": "acme"}):
            eventspool.track(event="Order Completed")

    Arguments of an event method win, and so does an inner scope: ids as a whole, context and properties key by key. Every
    client takes them. A wrong value raises nothing here; the events that would take it are refused, and say why.

    Args:
        user_id: The user's id, or a function without arguments that is asked for it at each event, and may return ``None``.
        anonymous_id: The id of somebody who has not logged in.
        context: Added to the ``context`` of each event: ``ip``, ``userAgent``, ``page`` and the like.
        properties: Added to the ``properties`` of track, page and screen events.
    """

    __slots__ = ("_given",)

    def __init__(
        self,
        *,
        user_id: object = None,
        anonymous_id: object = None,
        context: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> None:
        self._given = (user_id, anonymous_id, context, properties)

    def _change(self, scope: Scope) -> Scope:
        return scope.add(*self._given)


def bind(
    *,
    user_id: object = None,
    anonymous_id: object = None,
    context: Mapping[str, Any] | None = None,
    properties: Mapping[str, Any] | None = None,
) -> None:
    """
    Add to the scope of the running code, until its ``with`` block ends: a user who has just logged in, for one.

    Outside of every block it holds for the rest of this thread, or of this asyncio task. The arguments are those of
    ``context``.
    """
    _scope.set((entered() or Scope()).add(user_id, anonymous_id, context, properties))


def current() -> dict[str, Any]:
    """
    Return what the scope of the running code has bound, as JSON has it, to carry over to a thread, a task or a queue.

    ``with eventspool.context(**carrier)`` enters it there. A user that is a function is asked for now. A value that JSON has
    no form for is left out, and a warning in the log says so.
    """
    scope = entered() or Scope()
    found: dict[str, Any] = {}
    with _leaving_out("user_id"):
        found["user_id"] = id_of("user_id", scope.ask_user())
    with _leaving_out("anonymous_id"):
        found["anonymous_id"] = id_of("anonymous_id", scope.anonymous_id)
    for name, values in (("context", scope.context), ("properties", scope.properties)):
        found[name] = {}
        for key, value in values.items():
            with _leaving_out(name):
                found[name].update(json.loads(encode_exactly({key: value}, _MOST_CARRIED_BYTES)))
    return {name: value for name, value in found.items() if value}


class identifying(_Within):  # noqa: N801 - as ``context``
    """Have *identify* give the events inside the ``with`` block their message ids, where no argument does: see ``Scope``."""

    __slots__ = ("_identify",)

    def __init__(self, identify: Callable[[bytes], str]) -> None:
        self._identify = identify

    def _change(self, scope: Scope) -> Scope:
        return scope._replace(identify=self._identify)


@contextlib.contextmanager
def _leaving_out(name: str) -> Iterator[None]:
    try:
        yield
    except (
        ValueError,
        RecursionError,
    ) as error:  # JSON of it may have numbers that Python does not read, or be too deep
        _throttle.warning(f"left a value out of what eventspool.current() carries over ({name}): %s", error)
