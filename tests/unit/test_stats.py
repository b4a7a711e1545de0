"""The conservation of events: what adds up passes, and every way not to add up is noticed."""

from __future__ import annotations

import pytest

from conservation import find_lies
from eventspool import Client, ClientStats
from eventspool._settling.stats import find_imbalances
from eventspool.testing import capture_events

GOOD = {
    "accepted": 21,
    "refused": {"closed": 2, "invalid": 1},
    "buffered": 1,
    "persisted": 2,
    "spilled": 1,
    "delivered": 3,
    "failed": 5,
    "failed_reasons": {"rejected": 4, "stalled": 1},
    "lost": 10,
    "lost_reasons": {"unstored": 10},
    "discarded": 4,
    "dropped": 3,
    "unconfirmed": 6,
}


def test_stats_that_add_up_have_no_imbalance():
    assert find_imbalances(ClientStats(**GOOD), calls=31) == []


def test_fresh_stats_add_up():
    assert find_imbalances(ClientStats(), calls=0) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"accepted": 22}, "22 were accepted"),
        ({"delivered": 2}, "21 were accepted"),
        ({"buffered": -1, "delivered": 5}, "buffered is -1"),
        ({"failed_reasons": {"rejected": 4}}, "5 are failed"),
        ({"lost_reasons": {}}, "10 are lost"),
        ({"spilled": 3}, "3 are in the spill file"),
        ({"spilled": -1}, "-1 are in the spill file"),
        ({"unconfirmed": 22}, "22 are unconfirmed"),
    ],
)
def test_every_other_state_is_an_imbalance(changed, sentence):
    [wrong] = find_imbalances(ClientStats(**{**GOOD, **changed}))

    assert wrong.startswith(sentence)


@pytest.mark.parametrize("calls", [30, 32])
def test_a_call_that_was_not_counted_or_counted_twice_is_noticed(calls):
    assert find_imbalances(ClientStats(**GOOD), calls=calls) != []


def change_account(client, **counts):
    ledger = client._pipe().ledger
    ledger._account = ledger._account._replace(**counts)


LIES = {
    "refused": lambda client: client._refused.add("closed"),
    "discarded": lambda client: client._discarded.add("discarded"),
    "delivered": lambda client: change_account(client, delivered=1),
    "failed": lambda client: change_account(client, failed=1),
    "stored": lambda client: setattr(client._pipe().ledger, "_batched", 1),
    "spilled": lambda client: client._pipe().ledger._spilled.setdefault("a job that nobody knows"),
    "room": lambda client: setattr(client._pipe().buffer, "_count_outside", lambda: 1),
    "accepted": lambda client: client._pipe().buffer.put(b"{}"),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_the_check_after_every_test_notices_a_wrong_count(lie):
    with capture_events():
        client = Client("key")
        client.track("user", "event")
        assert find_lies(client) == []

        lie(client)

        assert find_lies(client, patience=0.0) != []
    client.begin_in_child()  # or this test would fail


def test_what_is_lost_at_the_end_is_counted_by_reason(free_port):
    client = Client("key", data_plane_url=f"http://127.0.0.1:{free_port}", flush_interval=60.0)
    client.track("user", "event")
    client.close(0.2)

    assert (client.stats().lost, client.stats().lost_reasons) == (1, {"undelivered": 1})


def test_what_a_queue_did_not_take_in_time_is_lost_as_unstored(free_port):
    client = Client("key", persistence=f"redis://127.0.0.1:{free_port}/0", flush_interval=60.0)
    client.track("user", "event")
    client.close(0.2)

    assert client.stats().lost_reasons == {"unstored": 1}


def test_what_a_disabled_client_takes_is_counted_as_discarded():
    with Client("key", enable=False) as client:
        assert client.track("user", "event")
        stats = client.stats()

    assert (stats.discarded, stats.accepted, stats.refused) == (1, 0, {})


@pytest.fixture
def free_port():
    """A port on which nobody listens."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
