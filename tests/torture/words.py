"""Tells the ledger what only the client knows: its own words, which it logs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torture.ledger import Scribe

__all__ = ["tell_words"]

_KINDS = {
    "the data plane works again": "c",
    "the queue is not available: events go into the spill file until it is back": "s",
}


class _Teller(logging.Handler):
    def __init__(self, scribe: Callable[[], Scribe], name: str) -> None:
        super().__init__()
        self._scribe = scribe
        self._name = name

    def emit(self, record: logging.LogRecord) -> None:
        if kind := _KINDS.get(record.getMessage()):
            self._scribe().say(kind, self._name)


def tell_words(scribe: Callable[[], Scribe], name: str) -> None:
    """Tell them from now on, as the process *name*. A forked child has another *scribe*."""
    logger = logging.getLogger("eventspool")
    logger.setLevel(logging.INFO)
    logger.addHandler(_Teller(scribe, name))
    logger.addHandler(words := logging.StreamHandler())
    words.setLevel(logging.WARNING)
