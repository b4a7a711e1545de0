"""How the integrations for monitoring look to a type checker. Never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

from prometheus_client import REGISTRY

from eventspool.integrations.opentelemetry import Instrumentation, instrument
from eventspool.integrations.prometheus import EventSpoolCollector

if TYPE_CHECKING:
    import eventspool


def prometheus(client: eventspool.Client, other: eventspool.AsyncClient, queue: eventspool.Queue) -> None:
    REGISTRY.register(EventSpoolCollector(client, queue))
    REGISTRY.register(EventSpoolCollector(clients=other, queues=lambda: other.queue))
    REGISTRY.register(EventSpoolCollector({"one": client, "other": other}, {"orders": queue}))


def opentelemetry(client: eventspool.Client, other: eventspool.AsyncClient) -> None:
    instrumentation = instrument(client, queue=lambda: client.queue, queue_name="orders")
    assert_type(instrumentation, Instrumentation)
    instrumentation.uninstrument()
    instrument(other, meter_provider=None, tracer_provider=None)
