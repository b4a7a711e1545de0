"""
The events that every candidate sends: a purchase with eight properties, one of them a list of two products.

About 480 bytes of JSON. The order's number is unique, so that the sink can tell what arrived; the rest varies in *varied*
events, because identical ones would compress far better than any real traffic.
"""

from __future__ import annotations

import random
from typing import Any

__all__ = ["CONTEXT", "EVENT", "USER", "properties", "varied_properties"]

USER = "user_12345"
EVENT = "Order Completed"
CONTEXT = {"ip": "10.1.2.3", "userAgent": "Mozilla/5.0 (X11; Linux x86_64)"}


def properties(number: int) -> dict[str, Any]:
    """Return the properties of the *number*-th order, up to 99,999,999. All but the number is always the same."""
    return {
        "order_id": f"o-{number:08d}",
        "total": 129.97,
        "revenue": 99.99,
        "tax": 9.9,
        "shipping": 5.0,
        "currency": "USD",
        "coupon": "SUMMER",
        "products": [{"sku": "A-1", "price": 19.5, "qty": 1}, {"sku": "B-2", "price": 45.14, "qty": 2}],
    }


def varied_properties(count: int, seed: int = 7) -> list[dict[str, Any]]:
    """Return *count* different sets of the same properties, numbered from 0. The same *seed* gives the same ones."""
    draw = random.Random(seed)

    def price(most: float) -> float:
        return round(draw.uniform(1, most), 2)

    return [
        {
            "order_id": f"o-{number:08d}",
            "total": price(500),
            "revenue": price(400),
            "tax": price(40),
            "shipping": draw.choice([0.0, 5.0, 9.99]),
            "currency": draw.choice(["USD", "EUR", "GBP"]),
            "coupon": draw.choice(["SUMMER", "", "WELCOME10"]),
            "products": [
                {
                    "sku": f"{draw.choice('ABCDEF')}-{draw.randrange(9999)}",
                    "price": price(99),
                    "qty": draw.randrange(1, 5),
                }
                for _ in range(2)
            ],
        }
        for number in range(count)
    ]
