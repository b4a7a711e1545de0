"""A process that delivers until it is killed or told to finish, and tells the ledger whenever it has delivered something."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from torture import clock
from torture.ledger import Scribe
from torture.words import tell_words

if TYPE_CHECKING:
    from eventspool import Client

_REQUEST_SECONDS = 1.5
_CLOSE_SECONDS = 8.0
_TELL_SECONDS = 0.05


def main(settings: dict[str, Any]) -> None:
    """Be a worker as *settings* say."""
    clock.install(settings["clock"])
    from eventspool import Client

    scribe = Scribe(settings["ledger"])
    scribe.say("b", settings["name"])
    tell_words(lambda: scribe, settings["name"])
    client = Client(
        settings["write_key"],
        data_plane_url=settings["data_plane_url"],
        spill=settings["spill"],
        timeout=_REQUEST_SECONDS,
    )
    client.create_persistence_queue(settings["queue_opts"], lambda error: None)
    threading.Thread(target=_tell, args=(client, scribe, settings["name"]), daemon=True).start()
    if sys.stdin.readline().strip() == "finish":
        client.close(timeout=_CLOSE_SECONDS)
        return
    os._exit(0)  # the driver is gone


def _tell(client: Client, scribe: Scribe, name: str) -> None:
    told = 0
    while True:
        if (sent := client.stats().sent) > told:
            told = sent
            scribe.say("w", name)
        time.sleep(_TELL_SECONDS)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
