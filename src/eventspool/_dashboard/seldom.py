"""
Questions whose answers cost the queue more the more it holds, asked so seldom that they take a hundredth of its time.

Pages that ask the same question share the answer. A question is not asked again for a hundred times as long as its answer
took, times the number of questions, so that many pages with a filter each cost no more than one.
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
        """Return the last answer to *question* while that is not to be asked again yet; else call *answer*."""
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
        """Forget all answers, because the queue was changed."""
        with self._lock:
            self._known.clear()
