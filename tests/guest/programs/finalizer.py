"""Calls a client from a finalizer at the end of the interpreter: ``finalizer.py URL KEY [closed]``."""

from __future__ import annotations

import sys

import eventspool

url, key = sys.argv[1:3]
client = eventspool.Client(key, data_plane_url=url, on_error=lambda *_: None)
unused = eventspool.Client(key, data_plane_url=url, on_error=lambda *_: None)
client.track("u1", "E")


class Tracks:
    def __del__(self):
        for each in (client, unused):
            each.track("u1", "Late", callback=lambda *_: None)
            each.track("u1", None)
            each.flush()
            each.flush(lambda *_: None, timeout=1)
            each.stats()
            each.close(1)


client.kept = Tracks()
if sys.argv[3:]:
    client.close()
