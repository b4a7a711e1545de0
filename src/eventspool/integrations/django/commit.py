"""
Event methods for code in transactions: an event is made now, and accepted when the transaction is committed.

``transaction.on_commit(lambda: eventspool.track(…))`` would do the same but for what it makes of the event: the time would be
that of the commit, properties could have changed until then, and the caller would get no id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from eventspool import _default
from eventspool._events.methods import EventMethods

if TYPE_CHECKING:
    from eventspool._events.event import EventEncoder
    from eventspool._events.methods import Callback
    from eventspool._exceptions import EventError

__all__ = ["OnCommit"]


class OnCommit(EventMethods):
    """
    The event methods of the default client, for one database. Each returns the message id, ``None`` for a refused event.

    The call takes time, id, properties and context. Where no transaction is open, as in asynchronous code, the event is
    accepted at once. Otherwise it is accepted at the commit, and nothing of it is left where the transaction, or the
    savepoint, is rolled back. An event that cannot be accepted then, because memory is full, is counted and told to
    ``on_error``. Where a program manages transactions by hand (``AUTOCOMMIT`` off), Django knows no commit, and the event is
    accepted at once.

    Args:
        using: The name of the database; ``None``: the default one.
    """

    _put = None

    def __init__(self, using: str | None = None) -> None:
        self._using = using

    @property
    def _encoder(self) -> EventEncoder:  # type: ignore[override] # it is that of the client of the moment
        return _default._default()._encoder  # noqa: SLF001 - it is ours

    def _accept(self, encoded: bytes, message_id: str, callback: Callback | None) -> str | None:
        client = _default._default()  # noqa: SLF001 - it is ours
        # Not `on_commit` alone: without a transaction it would connect to the database, and raise in asynchronous code.
        if not transaction.get_connection(self._using).in_atomic_block:
            return client._accept(encoded, message_id, callback)  # noqa: SLF001
        transaction.on_commit(
            lambda: client._accept(encoded, message_id, callback),  # noqa: SLF001
            using=self._using,
            robust=True,
        )
        return message_id

    def _refuse_invalid(self, error: EventError, kind: str, arguments: dict[str, Any]) -> str | None:
        return _default._default()._refuse_invalid(error, kind, arguments)  # noqa: SLF001
