"""
A process that produces in order per user, or delivers, until it is killed: ``per_user.py SETTINGS``.

A producer prints ``a N`` when its first N events are stored. Event number n of producer p is of one of p's own users.
"""

from __future__ import annotations

import json
import os
import random
import sys

import eventspool

settings = json.loads(sys.argv[1])
client = eventspool.Client(
    settings["write_key"],
    data_plane_url=settings["data_plane_url"],
    persistence=settings["queue_opts"],
    process=settings["role"] == "consumer",
    spill=settings.get("spill"),
    flush_at=20,
    flush_interval=0.05,
    timeout=2.0,
)
os.write(1, b"ready\n")
if settings["role"] == "consumer":
    client.flush()
    sys.stdin.read()
    client.close()
    sys.exit()

seed, users = settings["seed"], settings["users"]
dice = random.Random(seed)
n = 0
while True:
    for _ in range(dice.choice((1, 5, 40, 200))):
        user = f"{settings['family']}-{dice.randrange(users)}"
        client.track(user, "step", {"n": n, "userId": "not mine", "seed": seed}, message_id=f"{seed}-{n}")
        n += 1
    if client.flush(until="persisted", timeout=20.0).pending == 0:
        os.write(1, b"a %d\n" % n)
    if n >= settings["events"]:
        break
client.close()
