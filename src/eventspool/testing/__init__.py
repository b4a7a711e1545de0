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
    from collections.abc import Iterator

    from eventspool._contract.suite import QueueContract
    from eventspool._dataplane import DataPlane, Rule
    from eventspool.testing._capture import Capture, Recorder

__all__ = ["Capture", "DataPlane", "QueueContract", "Rule", "capture_events"]

_LAZY = {
    "Capture": "eventspool.testing._capture",
    "DataPlane": "eventspool._dataplane",
    "Rule": "eventspool._dataplane",
    "QueueContract": "eventspool._contract.suite",
}

_recorders: list[Recorder] = []
"""Those of the blocks that have not ended; the last one takes the events."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


@contextlib.contextmanager
def capture_events() -> Iterator[Capture]:
    """
    Collect what every client of this process accepts inside the ``with`` block, instead of sending it.

    A client's ``flush()`` says of what was captured since its last one that it was delivered. A default client that is made
    inside the block (``eventspool.init``) is closed at its end, and the one before it is the default client again. What
    ``eventspool.bind`` has bound inside the block ends with it.
    """
    from eventspool._events import methods
    from eventspool.testing._capture import Capture, Recorder

    captured = Capture()
    recorder = Recorder(captured)
    _recorders.append(recorder)
    methods.capture = recorder
    try:
        with _restored():
            yield captured
    finally:
        _recorders.remove(recorder)  # blocks of two asyncio tasks may end in any order
        methods.capture = _recorders[-1] if _recorders else None


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    """Have the default client, and what is bound in the scope, be at the end of the ``with`` block what they are now."""
    from eventspool import _default
    from eventspool._events.scope import context

    with _default.restored(), context():
        yield


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

        with DataPlane(None) as plane, _restored():
            yield plane
