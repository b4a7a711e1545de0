"""The example for Celery does what it says. ``pytest`` is run on this file, in the example's folder."""

from __future__ import annotations

import shop

import eventspool


def test_an_order_is_packed_for_the_user_of_the_request(eventspool_capture):
    shop.app.conf.task_always_eager = True
    with eventspool.context(user_id="user-1", context={"requestId": "request-1"}):
        shop.pack.delay("sku-1")

    eventspool_capture.assert_tracked(
        "Order Packed",
        user_id="user-1",
        properties_contains={"sku": "sku-1"},
        context_contains={"requestId": "request-1"},
    )
