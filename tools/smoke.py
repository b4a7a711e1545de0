"""
One event from end to end, out of an installed eventspool: `tools/release.py` runs it in a fresh environment.

It needs nothing but eventspool itself: the data plane is the local one, the queue a SQLite file in the working directory.
"""

from __future__ import annotations

import platform
from pathlib import Path

import eventspool
from eventspool.testing import DataPlane


def main() -> None:
    """Deliver an event, and say so."""
    assert ".venv" not in eventspool.__file__, (
        eventspool.__file__
    )  # it is the one that was installed, not the checkout's
    assert "src" not in Path(eventspool.__file__).parts, eventspool.__file__
    with (
        DataPlane(None) as plane,
        eventspool.Client("key", data_plane_url=plane.url, persistence="sqlite:///smoke.db") as client,
    ):
        message_id = client.track("user-1", "Order Completed", {"total": 9.99})
        result = client.flush(timeout=60.0)
        assert (result.delivered, result.failed, result.pending) == (1, 0, 0), result
        assert [event["messageId"] for event in plane.events] == [message_id]
    print(  # noqa: T201
        f"eventspool {eventspool.__version__} on Python {platform.python_version()}: one event, delivered"
    )


if __name__ == "__main__":
    main()
