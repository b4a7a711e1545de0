"""How a decorated handler of AWS Lambda looks to a type checker: as before. Never run."""

from __future__ import annotations

from typing import assert_type

import eventspool
from eventspool.integrations.aws_lambda import handler

client = eventspool.Client("key")


@handler
def plain(event: dict[str, str], context: object) -> int:
    return len(event)


@handler(reserve=1.0, timeout=3.0, client=client, request_id=False, trace=False)
def with_options(event: dict[str, str], context: object) -> int:
    return len(event)


def both() -> None:
    assert_type(plain({}, None), int)
    assert_type(with_options({}, None), int)
    plain({})  # type: ignore[call-arg]
