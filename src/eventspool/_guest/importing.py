"""
Imports on first use, and forks: a child that is forked amid an import waits for ever for the module's lock, whose holder the
child does not have.

So a fork waits until no other thread imports, and a thread that is about to import waits until no other one forks. Both wait
for a bounded time, for each may be waiting for the other through a lock that is not ours: a thread that configures ``logging``
holds the lock of ``logging`` while it makes a handler, which may make a client; and Python's fork waits for that lock.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time

from eventspool._guest.process import FORK_PATIENCE, await_forks, before_fork, in_child, is_forking

__all__ = ["importing"]

_POLL = 0.001
"""Seconds between two looks whether the imports that a fork waits for are over."""


class _Importing:
    """``with importing:`` around imports. A nested one, such as in a signal handler, waits no second time."""

    def __init__(self) -> None:
        self._threads: list[int] = []
        before_fork(self._await_imports, first=True)
        in_child(self._threads.clear)

    def __enter__(self) -> None:
        me = threading.get_ident()
        nested = me in self._threads
        self._threads.append(me)  # first this, then the look: so a fork sees us, or we see the fork
        while not nested and is_forking():
            self._threads.remove(me)
            ceased = await_forks()
            self._threads.append(me)
            if not ceased:
                return

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ValueError):  # this is a child, forked amid our imports
            self._threads.remove(threading.get_ident())

    def _await_imports(self, deadline: float) -> None:
        """Wait for as long as an import gets on, which on a busy machine takes many seconds; not for one that stands still."""
        seen: list[tuple[int, int]] = []
        given_up_at = 0.0
        while (places := self._places()) and (now := time.monotonic()) < deadline:
            if places != seen:
                seen, given_up_at = places, now + FORK_PATIENCE
            elif now >= given_up_at:
                return
            time.sleep(_POLL)

    def _places(self) -> list[tuple[int, int]]:
        """Return where each other thread that imports is just now."""
        me = threading.get_ident()
        others = [thread for thread in list(self._threads) if thread != me]
        frames = sys._current_frames() if others else {}  # noqa: SLF001 - documented, in spite of its name
        found = [frames.get(thread) for thread in others]
        return [(0, 0) if frame is None else (id(frame), frame.f_lasti) for frame in found]


importing = _Importing()
