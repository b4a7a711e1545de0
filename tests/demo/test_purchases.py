"""The demo's input is what its authors published, and every line is one event that never changes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from eventspool._demo.purchases import Source, find_source


def test_the_whole_file_is_found_in_a_checkout_and_the_sample_on_request():
    assert find_source().sample is False
    assert find_source(sample=True).sample is True


def test_the_whole_file_holds_all_purchases_to_the_cent():
    orders = list(find_source().orders())

    assert len(orders) == 69_659
    assert len({order.user_id for order in orders}) == 23_570
    assert sum(order.properties["total"] for order in orders) == Decimal("2500315.63")
    assert {order.timestamp.year for order in orders} == {1997, 1998}


def test_the_sample_holds_every_tenth_customer():
    orders = list(find_source(sample=True).orders())

    assert len(orders) == 6_919
    assert len({order.user_id for order in orders}) == 2_357


def test_a_purchase_is_told_exactly():
    first = next(find_source().orders())

    assert first.message_id == "cdnow-00001"
    assert first.user_id == "00001"
    assert first.timestamp == datetime(1997, 1, 1, tzinfo=UTC)
    assert first.properties == {
        "order_id": "cdnow-00001",
        "quantity": 1,
        "revenue": Decimal("11.77"),
        "total": Decimal("11.77"),
        "currency": "USD",
    }


def test_ids_are_unique_and_independent_of_where_one_begins():
    source: Source = find_source(sample=True)
    ids = source.order_ids()

    assert len(set(ids)) == len(ids)
    assert [order.message_id for order in source.orders()] == ids
    assert list(source.orders(6_000)) == list(source.orders())[6_000:]


def test_sample_and_whole_file_do_not_share_ids():
    assert not set(find_source().order_ids()) & set(find_source(sample=True).order_ids())
