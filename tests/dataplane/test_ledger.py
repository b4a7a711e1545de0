"""The record of a million events fits into memory."""

from __future__ import annotations

import tracemalloc
import uuid

from eventspool._dataplane.ledger import Ledger, RequestRecord


def test_what_is_not_kept_costs_no_memory():
    """200 bytes an event, whatever its size: 200 MB for a million. Half of that is the id itself."""
    ledger = Ledger(keep_events=10, keep_requests=10)
    request = RequestRecord(time=0.0, status=200)
    total = 40_000
    tracemalloc.start()
    try:
        for number in range(0, total, 100):
            batch = [({"messageId": str(uuid.uuid4())}, f"{number + i:01000d}") for i in range(100)]
            ledger.note(request, batch)
        del batch
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert ledger.unique() == total
    assert held / total < 200


def test_ids_of_duplicates_are_not_stored_twice():
    ledger = Ledger(keep_events=0, keep_requests=0)
    request = RequestRecord(time=0.0, status=200)
    for raw in ("x", "x", "y"):
        ledger.note(request, [({"messageId": "a"}, raw)])

    assert (ledger.unique(), ledger.arrivals("a"), ledger.stats({}).changed) == (1, 3, 1)
    assert ledger.events() == ledger.requests() == []
