"""
A process that tracks and delivers until it is killed, telling its parent what was acknowledged.

Each line on standard output: ``i ID HASH`` before the call (issued), ``a ID`` after it (acknowledged). One write each, far
below PIPE_BUF, so a kill leaves whole lines. Modes: ``persisted`` (each call returns once stored), ``grouped`` (calls are
buffered, flush(until="persisted") acknowledges the group) and ``drain`` (only deliver, until told to end).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import threading
import time


def fingerprint(event: dict[str, object]) -> str:
    """Return a hash of what the caller gave and what the event got on the way in."""
    kept = {name: event[name] for name in ("messageId", "type", "event", "userId", "properties", "timestamp")}
    return hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=12).hexdigest()


def main(settings: dict[str, object]) -> None:
    """Run as *settings* say."""
    import eventspool

    client = eventspool.Client(
        settings["write_key"],
        data_plane_url=settings["data_plane_url"],
        persistence=settings["queue_opts"],
        spill=settings.get("spill"),
        durability="persisted" if settings["mode"] == "persisted" else "buffered",
        flush_at=5,
        flush_interval=0.02,
        timeout=2.0,
    )
    if settings["mode"] == "drain":
        client.flush()
        os.write(1, b"ready\n")
        sys.stdin.read()
        client.close()
        return

    def produce(number: int) -> None:
        dice = random.Random(f"{settings['seed']}/{number}")
        n = 0
        while True:
            group = []
            for _ in range(1 if settings["mode"] == "persisted" else dice.randint(1, 12)):
                n += 1
                message_id = f"{settings['seed']}-{number}-{n}"
                event = {
                    "messageId": message_id,
                    "type": "track",
                    "event": "Order Completed",
                    "userId": f"u{number}",
                    "properties": {"n": n, "text": "ü" * dice.randint(0, 40)},
                    "timestamp": "2026-01-02T03:04:05.678Z",
                }
                os.write(1, f"i {message_id} {fingerprint(event)}\n".encode())
                accepted = client.track(
                    event["userId"],
                    event["event"],
                    event["properties"],
                    timestamp=event["timestamp"],
                    message_id=message_id,
                )
                if accepted:
                    group.append(accepted)
            time.sleep(float(str(settings["pause"])))  # leave some of the machine to the deliveries
            if settings["mode"] == "persisted" or not client.flush(until="persisted", timeout=10.0).pending:
                os.write(1, "".join(f"a {message_id}\n" for message_id in group).encode())

    for number in range(int(str(settings["threads"]))):
        threading.Thread(target=produce, args=(number,), daemon=True).start()
    sys.stdin.read()  # until killed, or until the parent is gone


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
