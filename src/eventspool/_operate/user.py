"""Find the events of one user among stored ones."""

from __future__ import annotations

from eventspool._operate.terms import USERS, FieldIs

__all__ = ["User"]


class User(FieldIs):
    """
    Tells which events are about a user.

    Args:
        user_id: The ``userId``, ``anonymousId`` or ``previousId`` of these events.
    """

    def __init__(self, user_id: str) -> None:
        super().__init__(user_id, USERS)
