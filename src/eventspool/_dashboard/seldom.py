"""
Answers of the queue that cost it more the more it holds: asked for so seldom that they cost a hundredth of its time.

Every page that asks the same shares the answer. A question rests for a hundred times what it took, and as many times longer as
there are questions: many pages with a filter each cost no more than one.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Seldom"]

_T = TypeVar("_T")

_EVERY_SECONDS = 0.9  # the page asks once a second, not to the millisecond
_REST = 100
_MOST_QUESTIONS = 100


class Seldom:
    """
    Args:
        clock: Seconds, of any beginning.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[Hashable, tuple[float, Any]] = {}

    def ask(self, question: Hashable, answer: Callable[[], _T]) -> _T:
        """Return what *answer* returned to the same *question*, if it has not rested for long enough; else call it."""
        with self._lock:
            start = self._clock()
            self._known = {asked: known for asked, known in self._known.items() if start < known[0]}
            if question not in self._known:
                found = answer()
                end = self._clock()
                rest = _REST * (end - start) * (len(self._known) + 1)
                self._known[question] = (end + max(_EVERY_SECONDS, rest), found)
                if len(self._known) > _MOST_QUESTIONS:
                    del self._known[next(iter(self._known))]
            return cast("_T", self._known[question][1])

    def forget(self) -> None:
        """Ask anew the next time: something was changed."""
        with self._lock:
            self._known.clear()
