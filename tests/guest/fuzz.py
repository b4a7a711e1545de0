"""
Calls event methods with hostile values: ``python -m guest.fuzz URL KEY SEED CALLS BATCH [FOLDER]``.

BATCH may be empty, for all; with a FOLDER, events are kept in SQLite files in it.

Prints its counts as JSON. A call that lets an exception out, or returns anything but an id or ``None``, is printed with the
seed and the batch that repeat it, and so is a crash or a hang: they are on the last line that was printed.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import random
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

from eventspool import Client, EventError
from eventspool._events.event import EventEncoder
from guest.hostile import Hostility

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS_PER_BATCH = 500
HANG_SECONDS = 150.0
METHODS = {
    "track": ("user_id", "event", "properties"),
    "identify": ("user_id", "traits"),
    "page": ("user_id", "category", "name", "properties"),
    "screen": ("user_id", "category", "name", "properties"),
    "group": ("user_id", "group_id", "traits"),
    "alias": ("previous_id", "user_id"),
}
COMMON = ("context", "timestamp", "integrations", "message_id", "callback")
GOOD = {"user_id": "u1", "event": "E", "group_id": "g", "previous_id": "p"}


def _fail(error: Exception, events: list[dict[str, Any]]) -> None:
    raise error


class Fuzzer:
    """
    One process's calls.

    Args:
        url: The data plane.
        key: Its write key.
        seed: Of everything that is drawn.
        folder: Of the queues; empty to have none.
    """

    def __init__(self, url: str, key: str, seed: int, folder: str) -> None:
        self._seed = seed

        def client(name: str, **options: Any) -> Client:
            store = f"sqlite:///{folder}/{name}.db" if folder else None
            options |= {"data_plane_url": url, "persistence": store, "max_internal_queue_size": 200_000}
            return Client(key, **options)

        self._plain = client("plain", on_error=_fail)
        self._strict = client("strict", strict=True)
        self._slow = client("slow")
        self._slow._encoder = EventEncoder(_fast=False)
        self.accepted = self.refused = self.raised = 0
        self.slowest = (0.0, "")
        self._hostility = Hostility(seed, 1000, self._work)
        self._hostility.change_for_ever()

    def _work(self) -> None:
        self._note(self._plain.track("u1", "From within"))

    def _note(self, outcome: object) -> None:
        if outcome is None:
            self.refused += 1
        elif type(outcome) is str:
            self.accepted += 1
        else:
            raise AssertionError(f"a call returned a {type(outcome).__name__}")

    def run(self, batch: int) -> None:
        """Make the calls of *batch*."""
        dice = random.Random(f"{self._seed} {batch}")
        client = self._plain if batch % 8 else (self._strict if batch % 16 else self._slow)
        for number in range(CALLS_PER_BATCH):
            name = dice.choice(list(METHODS))
            arguments = self._arguments(dice, METHODS[name])
            where = f"seed {self._seed}, batch {batch}, call {number}: {name}({', '.join(arguments)})"
            began = time.thread_time()
            try:
                self._call(getattr(client, name), arguments)
                self.slowest = max(self.slowest, (time.thread_time() - began, where))
            except BaseException as error:
                raise AssertionError(f"{where} let {type(error).__name__} out") from error

    def _call(self, method: Callable[..., object], arguments: dict[str, Any]) -> None:
        try:
            outcome = method(**arguments)
        except EventError:
            if method.__self__ is not self._strict:  # type: ignore[attr-defined]
                raise
            self.raised += 1
        else:
            self._note(outcome)

    def _arguments(self, dice: random.Random, own: tuple[str, ...]) -> dict[str, Any]:
        arguments = {name: GOOD[name] for name in own if name in GOOD}
        rest = [name for name in own if name not in GOOD]
        hostile = rest[-1:]  # properties or traits, where any mapping will do
        if dice.random() < 0.3:
            hostile.append(
                dice.choice((*own, *COMMON) if "previous_id" in own else (*own, *COMMON, "anonymous_id"))
            )
        for name in hostile:
            value = self._hostility.value(dice)
            is_body = name in ("properties", "traits", "context", "integrations")
            arguments[name] = {"v": value} if is_body and dice.random() < 0.9 else value
        return arguments

    def flush(self) -> None:
        """Let the data plane catch up."""
        for client in (self._plain, self._strict, self._slow):
            client.flush(timeout=200)

    def finish(self) -> dict[str, Any]:
        """Close, and return the counts as they were made and as the clients made them."""
        gc.collect()  # what tracks when it dies does so now
        gc.disable()
        clients = (self._plain, self._strict, self._slow)
        for client in clients:
            client.close(200)
        stats = [client.stats() for client in clients]
        return {
            "calls": self.accepted + self.refused + self.raised,
            "accepted": self.accepted,
            "counted": sum(each.accepted for each in stats),
            "delivered": sum(each.delivered for each in stats),
            "refused": self.refused,
            "counted_refused": sum(sum(each.refused.values()) for each in stats),
            "raised": self.raised,
            "reasons": sorted({reason for each in stats for reason in each.refused}),
            "slowest": self.slowest,
            "cpu": round(time.process_time(), 1),
        }


def main(url: str, key: str, seed: str, calls: str, batch: str, folder: str = "") -> None:
    """Make *calls* calls, or those of one *batch*."""
    warnings.simplefilter("ignore")  # of the libraries whose values are made here
    fuzzer = Fuzzer(url, key, int(seed), folder)
    batches = [int(batch)] if batch else range(int(calls) // CALLS_PER_BATCH)
    for number in batches:
        print(f"seed {seed}, batch {number}", flush=True)
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        fuzzer.run(number)
        if number % 40 == 39:
            fuzzer.flush()
    faulthandler.dump_traceback_later(620, exit=True)
    print(json.dumps(fuzzer.finish()))


if __name__ == "__main__":
    faulthandler.enable()
    main(*sys.argv[1:])
