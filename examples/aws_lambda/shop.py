"""A shop on AWS Lambda, behind an API gateway. The function's handler is ``shop.order``."""

from __future__ import annotations

import json
from typing import Any

import eventspool.integrations.aws_lambda


@eventspool.integrations.aws_lambda.handler  # +
def order(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Order something. The answer is given once the event is delivered, for Lambda freezes the process then."""
    asked = json.loads(event["body"])
    made = eventspool.track(asked["user"], "Order Completed", {"sku": asked["sku"]})
    return {"statusCode": 200, "body": json.dumps({"event": made})}
