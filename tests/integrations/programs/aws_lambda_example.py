"""The example for AWS Lambda does what it says. ``pytest`` is run on this file, in the example's folder."""

from __future__ import annotations

import json
from types import SimpleNamespace

import shop


def test_the_answer_names_the_event(eventspool_capture):
    told = SimpleNamespace(aws_request_id="request-1", get_remaining_time_in_millis=lambda: 3000)
    answer = shop.order({"body": json.dumps({"user": "user-1", "sku": "sku-1"})}, told)

    event = eventspool_capture.assert_tracked(
        "Order Completed",
        user_id="user-1",
        properties_contains={"sku": "sku-1"},
        context_contains={"awsRequestId": "request-1"},
    )
    assert json.loads(answer["body"]) == {"event": event["messageId"]}
