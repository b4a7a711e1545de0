"""What was accepted goes out by ``queue export`` and in again by ``send`` as the same events."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from eventspool import Client, QueueOpts, open_queue

KEY = base64.b64encode(bytes(range(32))).decode()


def nested(levels: int) -> dict[str, object]:
    inner: object = "deepest"
    for level in range(levels):
        inner = [inner] if level % 2 else {"a": inner}
    return {"a": inner}


def track_all(client: Client) -> None:
    """Call every method with what is hard to write down twice."""
    odd = {
        "huge": 10**6000,
        "below": -(2**80),
        "exact": [Decimal("1.10"), Decimal("1E+400"), Decimal("-0"), 0.1, 1e16, 5e-324, -0.0],
        "none": [float("nan"), float("inf"), None],
        "text": '\ud83d\ude00 \ud800 \x00\x1b[31m \u2028 \u202e "\\',
        "\udfff": 1,
        "": {"": []},
        "when": [datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)],
    }
    at = datetime(1997, 3, 4, 5, 6, 7, 890123, UTC)
    client.track("u\udc80", "E \ud800", odd, {"ip": "::1", "library": {"name": "mine"}}, at, message_id="m-1")
    client.track("u", "deep", nested(250))
    client.track(None, "anonymous", anonymous_id="a", integrations={"All": False, "Other": {"id": 2**70}})
    client.identify("u", odd, {"traits": {"old": 1}})
    client.identify("u", None, {"traits": {"only": "here"}})
    client.page("u", "category", "name", odd)
    client.screen("u", None, "name", odd, timestamp="0001-01-01T00:00:00Z")
    client.group("u", "g", odd)
    client.alias("before", "after")
    client.track("u", "large", {"text": "x" * 100_000})


def contents(opts: QueueOpts) -> list[object]:
    with open_queue(opts.url or "", opts.queue_name, encryption_key=opts.encryption_key) as queue:
        found: list[bytes] = []
        for job in queue.jobs("waiting", 500):
            found += queue._open(job.id)  # as it will be sent
    read = [
        json.loads(event, parse_int=Decimal, parse_float=lambda text: str(Decimal(text))) for event in found
    ]
    return sorted(read, key=lambda event: event["messageId"])


@pytest.mark.parametrize("keys", [{}, {"EVENTSPOOL_ENCRYPTION_KEY": KEY}], ids=["plain", "encrypted"])
def test_an_export_is_sent_as_it_was_accepted(run, queue, tmp_path, keys):
    first = QueueOpts(
        url=queue["EVENTSPOOL_QUEUE"],
        queue_name=queue["EVENTSPOOL_QUEUE_NAME"],
        encryption_key=keys.get("EVENTSPOOL_ENCRYPTION_KEY"),
    )
    second = QueueOpts(url=f"sqlite:///{tmp_path}/second.db", encryption_key=first.encryption_key)
    with Client("k", process=False, persistence=first, strict=True, max_event_bytes=200_000) as client:
        track_all(client)
        assert client.flush(until="persisted", timeout=60).pending == 0
    accepted = contents(first)
    assert len(accepted) == 10

    done = run("queue", "export", "--state", "waiting", "out.jsonl", "--json", **queue, **keys)
    assert (done.status, done.json["exported"]) == (0, 10), done
    sent = run("send", "out.jsonl", "--enqueue-only", "--json", EVENTSPOOL_QUEUE=second.url, **keys)
    assert (sent.status, sent.json["accepted"]) == (0, 10), sent
    assert contents(second) == accepted
