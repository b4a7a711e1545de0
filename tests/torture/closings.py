"""Tells the ledger when the data plane is found alive again: the processor's own word, which it logs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torture.ledger import Scribe

__all__ = ["tell_closings"]

_WORD = "the data plane works again"


class _Teller(logging.Handler):
    def __init__(self, scribe: Callable[[], Scribe], name: str) -> None:
        super().__init__()
        self._scribe = scribe
        self._name = name

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == _WORD:
            self._scribe().say("c", self._name)


def tell_closings(scribe: Callable[[], Scribe], name: str) -> None:
    """Tell it from now on, as the process *name*. A forked child has another *scribe*."""
    logger = logging.getLogger("eventspool")
    logger.setLevel(logging.INFO)
    logger.addHandler(_Teller(scribe, name))
    logger.addHandler(words := logging.StreamHandler())
    words.setLevel(logging.WARNING)
