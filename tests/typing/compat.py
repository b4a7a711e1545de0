"""How the faces of other SDKs look to a type checker. Never run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, assert_type

import eventspool.compat.htevents as htevents
import eventspool.compat.rudder as rudder
import eventspool.compat.segment as analytics
from eventspool.compat.segment.client import Client


def on_error(error: Exception, events: list[dict[str, Any]]) -> None:
    print(error, len(events))


def the_module() -> None:
    analytics.write_key = "key"
    analytics.host = "https://events.example.com"
    analytics.on_error = on_error
    analytics.debug = True
    analytics.timeout = 1.5
    analytics.persistence = "sqlite:///events.db"
    ok, message = analytics.track("user", "Event", {"total": 9.99}, timestamp=datetime.now(UTC))
    assert_type(ok, bool)
    assert_type(message, dict[str, Any])
    analytics.track("user", event=5)  # type: ignore[arg-type]
    analytics.shutdown()
    analytics.default_client = None
    rudder.dataPlaneUrl = "https://events.example.com"
    rudder.track("user", "Event")
    assert_type(htevents.identify("user"), tuple[bool, dict[str, Any]])


def the_client() -> None:
    client = Client(
        "key", host="https://events.example.com", persistence="redis://localhost", on_error=on_error
    )
    assert_type(client.page("user", name="Home"), tuple[bool, dict[str, Any]])
    assert_type(client.client.stats().delivered, int)
    assert_type(client.queue.empty(), bool)
    client.shutdown()
