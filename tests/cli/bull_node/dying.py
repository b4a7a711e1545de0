"""``eventspool ARGUMENTS``, killed at one step of an import: ``dying.py STEP before|after COUNT ARGUMENTS...``."""

from __future__ import annotations

import os
import signal
import sys

from eventspool._backends.redis.backend import RedisBackend
from eventspool._backends.sqlite.backend import SQLiteBackend
from eventspool._cli import app
from eventspool._operate.bull.source import BullQueue

step, when, count, *arguments = sys.argv[1:]
left = int(count)


def dying(method):
    def call(*args, **kwargs):
        global left
        left -= 1
        if left == 0 and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(*args, **kwargs)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


for owner in (RedisBackend, SQLiteBackend) if step == "commit" else (BullQueue,):
    setattr(owner, step, dying(getattr(owner, step)))
sys.exit(app.run(arguments))
