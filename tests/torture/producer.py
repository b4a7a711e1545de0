"""
A process that tracks events until it is killed or told to finish, and tells the ledger before and after every call.

Half of these wait for each event (``durability="persisted"``), half track a group and flush it. Some also deliver. Lines on
the standard input: ``storm N`` forks N children that track with the same client, ``finish`` closes it; its end ends the
process.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any

from torture import clock, sabotage
from torture.events import digest_of, make_event
from torture.ledger import Scribe
from torture.words import tell_words

if TYPE_CHECKING:
    from eventspool import Client

CALL_SECONDS = 1.5
"""``timeout`` of the client: a call that could not store its event by then returns ``None``."""
_FLUSH_SECONDS = 4.0
_CHILD_SECONDS = 20
_EVENTS_PER_CHILD = 3
_CLOSE_SECONDS = 8.0
_CRASHED = 70


class Producer:
    """
    Tracks and bears witness.

    Args:
        settings: See ``world``.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        from eventspool import Client

        self._settings = settings
        self._name = settings["name"]
        self._finish = threading.Event()
        self._scribe = Scribe(settings["ledger"])
        self._scribe.say("b", self._name)
        tell_words(lambda: self._scribe, self._name)
        dice = random.Random(settings["seed"])
        self._waits = dice.random() < 0.5
        self._client: Client = Client(
            settings["write_key"],
            data_plane_url=settings["data_plane_url"],
            persistence=settings["queue_opts"],
            spill=settings["spill"],
            durability="persisted" if self._waits else "buffered",
            process=dice.random() < 0.3,
            flush_at=dice.choice((1, 5, 20)),
            flush_interval=0.02,
            max_internal_queue_size=dice.choice((30, 300)),
            timeout=CALL_SECONDS,
            on_error=self._on_error,
        )

    def _on_error(self, error: Exception, events: list[dict[str, Any]]) -> None:
        from eventspool import RefusedError

        if isinstance(error, RefusedError):
            for event in events:
                self._scribe.say("r", event["messageId"], error.reason)

    def run(self) -> None:
        """Track until told to finish."""
        threads = [
            threading.Thread(target=self._produce, args=(number,), daemon=True)
            for number in range(self._settings["threads"])
        ]
        for thread in threads:
            thread.start()
        for line in sys.stdin:
            word, *rest = line.split()
            if word == "storm":
                self._storm(int(rest[0]))
            elif word == "finish":
                self._finish.set()
                for thread in threads:
                    thread.join(3 * CALL_SECONDS + _FLUSH_SECONDS)
                self._client.close(timeout=_CLOSE_SECONDS)
                self._scribe.say("e", self._name, str(self._client.stats().lost))
                return
        os._exit(0)  # the driver is gone

    def _produce(self, number: int) -> None:
        dice = random.Random(f"{self._settings['seed']}/{number}")
        count = 0
        while not self._finish.is_set():
            size = 1 if self._waits else dice.randint(1, 10)
            self._track(dice, [f"{self._name}.{number}.{count + i}" for i in range(size)])
            count += size
            time.sleep(dice.uniform(0.5, 1.5) * self._settings["pause"] * size)

    def _track(self, dice: random.Random, names: list[str]) -> None:
        accepted = []
        for name in names:
            event = make_event(dice, name)
            self._scribe.say("i", event["messageId"], digest_of(event))
            message_id = self._client.track(
                event["userId"],
                event["event"],
                event["properties"],
                timestamp=event["timestamp"],
                message_id=event["messageId"],
            )
            if message_id is None:
                self._scribe.say("n", event["messageId"])
            else:
                accepted.append(message_id)
        if accepted and (
            self._waits or not self._client.flush(until="persisted", timeout=_FLUSH_SECONDS).pending
        ):
            self._scribe.acknowledge(accepted)

    def _storm(self, count: int) -> None:
        warnings.filterwarnings(
            "ignore", "This process .* is multi-threaded", DeprecationWarning
        )  # that is the point
        for number in range(count):
            name = f"{self._name}f{time.monotonic_ns()}"
            if not (pid := os.fork()):
                self._be_child(name, number)
            threading.Thread(target=self._reap, args=(pid, name), daemon=True).start()

    def _be_child(self, name: str, number: int) -> None:
        try:
            signal.alarm(_CHILD_SECONDS)
            self._scribe = Scribe(self._settings["ledger"])
            self._scribe.say("f", name)
            dice = random.Random(f"{self._settings['seed']}/fork/{number}")
            self._track(dice, [f"{name}.0.{i}" for i in range(_EVENTS_PER_CHILD)])
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(_CRASHED)

    def _reap(self, pid: int, name: str) -> None:
        _, status = os.waitpid(pid, 0)
        ended = os.waitstatus_to_exitcode(status)
        if ended == -signal.SIGALRM:
            self._scribe.say("d", name)
        elif ended:
            self._scribe.say("x", name, str(ended))


def main(settings: dict[str, Any]) -> None:
    """Be a producer as *settings* say. Nothing may be raised into it."""

    def crash(failure: threading.ExceptHookArgs) -> None:
        traceback.print_exception(failure.exc_value)
        os._exit(_CRASHED)

    threading.excepthook = crash
    clock.install(settings["clock"])
    if settings["sabotage"]:
        sabotage.commit(settings["sabotage"])
    Producer(settings).run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
