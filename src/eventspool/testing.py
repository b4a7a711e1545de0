"""
For the tests of code that tracks events: a pytest plugin, and the same things for any other test runner.

Fixtures:

* ``eventspool_capture``: what the test's code tracked, as a list of events; nothing is sent.
* ``eventspool_dataplane``: a started ``DataPlane`` to send to, with scripted faults.

``QueueContract`` is the behavioural suite that any queue backend must pass. Every pytest run of an environment
that has eventspool installed imports this module, so it imports nothing that a test did not ask for.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from eventspool._contract.suite import QueueContract
    from eventspool._dataplane import DataPlane, Rule

__all__ = ["Capture", "DataPlane", "QueueContract", "Rule", "capture_events"]

_LAZY = {
    "DataPlane": "eventspool._dataplane",
    "Rule": "eventspool._dataplane",
    "QueueContract": "eventspool._contract.suite",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


class Capture(list[dict[str, Any]]):
    """The events that were accepted, in order, each as it would have been sent. A list, with assertions."""

    @property
    def events(self) -> list[dict[str, Any]]:
        """A copy of the events so far."""
        return list(self)

    def assert_tracked(
        self,
        event: str,
        *,
        user_id: str | None = None,
        anonymous_id: str | None = None,
        properties_contains: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """
        Return the first ``track`` event called *event* that has everything else that was given.

        Args:
            event: The event's name.
            user_id: Its ``userId``.
            anonymous_id: Its ``anonymousId``.
            properties_contains: Properties that it must have with these values; it may have more.

        Raises:
            AssertionError: There is none. The message says what came closest.
        """
        wanted = {"userId": user_id, "anonymousId": anonymous_id}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        tracked = [each for each in self if each["type"] == "track"]
        closest: list[str] | None = None
        for each in tracked:
            if each["event"] != event:
                continue
            differences = _differences("", wanted, each)
            differences += _differences("properties.", properties_contains or {}, each["properties"])
            if not differences:
                return each
            if closest is None or len(differences) < len(closest):
                closest = differences
        if closest is None:
            names = ", ".join(sorted({repr(each["event"]) for each in tracked})) or "nothing"
            raise AssertionError(f"{event!r} was not tracked; tracked: {names}")
        raise AssertionError(f"{event!r} was tracked, but in the closest one {'; '.join(closest)}")


@contextlib.contextmanager
def capture_events() -> Iterator[Capture]:
    """Collect what every client of this process accepts inside the ``with`` block, instead of sending it."""
    from eventspool._events import methods
    from eventspool._events.decoding import decode_event

    captured = Capture()
    outer = methods.capture
    methods.capture = lambda encoded: captured.append(decode_event(encoded))
    try:
        yield captured
    finally:
        methods.capture = outer


def _differences(prefix: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    return [
        f"{prefix}{name} is {found[name]!r}, not {value!r}" if name in found else f"{prefix}{name} is missing"
        for name, value in wanted.items()
        if name not in found or found[name] != value
    ]


try:
    import pytest
except ImportError:  # everything but the fixtures works with any test runner
    pass
else:

    @pytest.fixture
    def eventspool_capture() -> Iterator[Capture]:
        """Events that the test's code tracked, in order; nothing is sent."""
        with capture_events() as captured:
            yield captured

    @pytest.fixture
    def eventspool_dataplane() -> Iterator[DataPlane]:
        """A local data plane: ``Client("any key", data_plane_url=plane.url)``."""
        from eventspool._dataplane import DataPlane

        with DataPlane(None) as plane:
            yield plane
