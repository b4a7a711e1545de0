"""The collector, asked by the real client library."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from e2e.harness import eventually
from eventspool import AsyncClient, Client
from eventspool.integrations.prometheus import EventSpoolCollector


@pytest.fixture
def registry():
    """A registry of the test's own."""
    return CollectorRegistry()


def test_a_client_and_its_queue_are_exported(registry, clients, tmp_path):
    client = clients(persistence=f"sqlite:///{tmp_path}/queue.db")
    registry.register(EventSpoolCollector(client, lambda: client.queue))
    for _ in range(3):
        client.track("user", "event")
    client.track()
    assert client.flush(timeout=60).delivered == 3

    def value(name, **labels):
        return registry.get_sample_value(f"eventspool_{name}", labels)

    assert value("client_accepted_events_total", client="default") == 3
    assert value("client_refused_events_total", client="default", reason="invalid") == 1
    assert value("queue_up", queue="default") == 1
    eventually(lambda: value("queue_delivered_events_total", queue="default") == 3)
    assert value("queue_jobs", queue="default", state="waiting") == 0


def test_registering_reads_nothing(registry):
    """A queue may be out of reach, or slow, while an application starts."""

    def queue():
        raise AssertionError("it was read")

    registry.register(EventSpoolCollector(queues=queue))
    with pytest.raises(AssertionError):
        generate_latest(registry)


def test_registering_twice_is_refused(registry, clients):
    registry.register(EventSpoolCollector(clients()))

    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(EventSpoolCollector(clients()))


def test_several_clients_go_by_their_names(registry):
    with Client("key", enable=False) as one, Client("key", enable=False) as other:
        registry.register(EventSpoolCollector({"one": one, "other": other}))
        other.track("user", "event")

        name = "eventspool_client_discarded_events_total"
        assert registry.get_sample_value(name, {"client": "one"}) == 0
        assert registry.get_sample_value(name, {"client": "other"}) == 1


def test_an_async_client_is_exported_like_any_other(registry):
    client = AsyncClient("key", enable=False)
    registry.register(EventSpoolCollector(client))
    client.track("user", "event")

    name = "eventspool_client_discarded_events_total"
    assert registry.get_sample_value(name, {"client": "default"}) == 1


def test_nothing_of_an_event_is_exported(registry, clients, plane):
    plane.script({"reject": "events", "event": "Secret-Event"})
    client = clients(on_error=lambda error, events: None)
    registry.register(EventSpoolCollector(client))
    client.track("secret-user", "Secret-Event", {"secret-name": "secret-value"})
    client.track("secret-user", "Secret-Event", {"secret-name": object()})
    eventually(lambda: client.stats().failed)

    text = generate_latest(registry).decode()
    assert 'failed_events_total{client="default",reason="rejected"} 1.0' in text
    assert "secret" not in text.lower()
