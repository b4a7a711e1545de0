"""The event that every candidate sends: eight properties and a product list, about 480 bytes of JSON."""

from __future__ import annotations

from typing import Any

CONTEXT = {"ip": "10.1.2.3", "userAgent": "Mozilla/5.0 (X11; Linux x86_64)"}


def properties(number: int) -> dict[str, Any]:
    """Return the properties of the *number*-th order."""
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
